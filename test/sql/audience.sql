-- Ad audiences: what is uploaded, what is removed, and that it is the hash that was really uploaded.
\pset null -
SET timezone = 'UTC';
SET client_min_messages = warning;
\set SHOW_CONTEXT never
SET search_path = public, crm;
SET crm_marketing.now = '2026-03-01Z';
CREATE TABLE users (id bigint PRIMARY KEY, phone text, email text, city text);
INSERT INTO users VALUES
	(1, '+7 916 000-00-01', 'Anna@Example.org', 'Perm'), (2, '+7 916 000-00-01', 'boris@example.org', 'Perm'),
	(3, NULL, 'clara@example.org', 'Perm'), (4, '+7 916 000-00-04', NULL, 'Perm'), (5, NULL, 'egor@example.org', 'Omsk');
SELECT define_customers('SELECT id AS customer_id, phone, email, city FROM public.users');
SELECT define_channel('ad:google', 'email'), define_channel('ad:meta', 'phone');
SELECT create_segment('in Perm', 'city = ''Perm''');
SELECT create_audience('Perm at Google', 'ad:google', 'in Perm');

-- a segment that was never evaluated is not an empty one
SELECT * FROM sync_audience('Perm at Google');
SELECT * FROM sync_audience();
SELECT refresh_segments();
SELECT * FROM sync_audience('Perm at Google');
SELECT record_consent(c, h) FROM generate_series(1, 5) AS c, unnest('{ad:google,ad:meta}'::text[]) AS h WHERE (c, h) <> (3, 'ad:google');
SELECT * FROM sync_audience('Perm at Google');
SELECT * FROM sync_audience('Perm at Google');
SELECT * FROM audience_size;

-- the worker: who it is, he learns not; only what to tell
CREATE VIEW ledger AS
	SELECT a.audience, left(encode(l.hash, 'hex'), 8) AS hash, l.state, l.uploaded, l.attempts AS tries, l.since, l.next_at, l.error, k.wanted_for
	  FROM crm.audience_ledger AS l
	  JOIN crm.audience AS a USING (audience_id)
	 CROSS JOIN LATERAL (SELECT array_agg(k.customer_id ORDER BY k.customer_id) AS wanted_for FROM crm.audience_link AS k
						  WHERE k.audience_id = l.audience_id AND k.hash = l.hash) AS k;
SELECT operation, hash, hash = encode(sha256('anna@example.org'), 'hex') AS anna FROM claim_audience('Perm at Google') ORDER BY anna DESC;
SELECT * FROM claim_audience('Perm at Google');
SELECT * FROM ledger ORDER BY wanted_for;
SELECT ack_audience(ARRAY(SELECT entry_id FROM audience_ledger), 999), ack_audience(NULL, 1), ack_audience('{1}', NULL);
SELECT ack_audience(array_agg(entry_id), min(token)) FROM audience_ledger;
SELECT ack_audience(array_agg(entry_id), min(token)) FROM audience_ledger;
SELECT * FROM audience_size;

-- he has moved, she has another address, a third one has refused: each is removed by what was uploaded
UPDATE users SET email = 'anna.new@example.org' WHERE id = 1;
UPDATE users SET city = 'Omsk' WHERE id = 2;
SET crm_marketing.now = '2026-03-02Z';
SELECT record_consent(3, 'ad:google');
SELECT refresh_segments();
SELECT * FROM sync_audience();
SELECT * FROM ledger ORDER BY wanted_for, hash;
-- removals come first
SELECT c.operation, n.address
  FROM claim_audience('Perm at Google', 2) AS c
  JOIN unnest('{anna,anna.new,boris,clara}'::text[]) AS n(address) ON c.hash = encode(sha256(convert_to(n.address || '@example.org', 'UTF8')), 'hex')
 ORDER BY 1, 2;
SELECT ack_audience(array_agg(entry_id), min(token)) FROM audience_ledger WHERE state = 'removing';
-- clara says no before the worker has come
SELECT unsubscribe(3, 'ad:google', at => '2026-03-02 00:00:01Z') FROM set_config('crm_marketing.now', '2026-03-02 00:00:01Z', false);
SELECT c.operation, n.address
  FROM claim_audience('Perm at Google') AS c
  JOIN unnest('{anna,anna.new,boris,clara}'::text[]) AS n(address) ON c.hash = encode(sha256(convert_to(n.address || '@example.org', 'UTF8')), 'hex');
SELECT * FROM ledger ORDER BY wanted_for, hash;

-- what is said while he is at it, counts when he answers
SELECT unsubscribe(1, 'ad:google', at => '2026-03-02 00:00:02Z') FROM set_config('crm_marketing.now', '2026-03-02 00:00:02Z', false);
SELECT * FROM sync_audience_customers('{1}');
SELECT state, wanted_for FROM ledger WHERE state = 'adding';
SELECT ack_audience(array_agg(entry_id), min(token)) FROM audience_ledger WHERE state = 'adding';
SELECT state, uploaded, since, wanted_for FROM ledger WHERE state <> 'removed';
-- and so does what is said after that
SELECT record_consent(1, 'ad:google', at => '2026-03-02 00:00:03Z') FROM set_config('crm_marketing.now', '2026-03-02 00:00:03Z', false);
SELECT operation FROM claim_audience('Perm at Google');
SELECT * FROM sync_audience_customers('{1,1,77}');
SELECT ack_audience(array_agg(entry_id), min(token)) FROM audience_ledger WHERE state = 'removing';
SELECT state, uploaded, wanted_for FROM ledger WHERE state <> 'removed';
SELECT unsubscribe(1, 'ad:google', at => '2026-03-02 00:00:04Z') FROM set_config('crm_marketing.now', '2026-03-02 00:00:04Z', false);
SELECT * FROM sync_audience();
SELECT state, uploaded, wanted_for FROM ledger ORDER BY hash;
SELECT record_consent(1, 'ad:google', at => '2026-03-02 00:00:05Z') FROM set_config('crm_marketing.now', '2026-03-02 00:00:05Z', false);
SELECT * FROM sync_audience();
SELECT ack_audience(array_agg(entry_id), min(token)) FROM claim_audience('Perm at Google');
-- a removal that was not begun is simply not wanted any more
SELECT unsubscribe(1, 'ad:google', at => '2026-03-02 00:00:06Z') FROM set_config('crm_marketing.now', '2026-03-02 00:00:06Z', false);
SELECT * FROM sync_audience();
SELECT record_consent(1, 'ad:google', at => '2026-03-02 00:00:07Z') FROM set_config('crm_marketing.now', '2026-03-02 00:00:07Z', false);
SELECT * FROM sync_audience();
SELECT * FROM claim_audience('Perm at Google');
SELECT * FROM audience_size;

-- phones, put in by hand; a family has one, and it goes with the last of them. Meta wants them without +
SELECT create_audience('Callers', 'ad:meta', hash_form => 'sha256_digits');
SELECT add_to_audience('Callers', '{1,2,2,4}'), add_to_audience('Callers', '{2,4}'), add_to_audience('Callers', '{}');
SELECT * FROM sync_audience('Callers');
SELECT left(encode(sha256('79160000001'), 'hex'), 8) AS family, hash, wanted_for FROM ledger WHERE audience = 'Callers' ORDER BY wanted_for;
SELECT ack_audience(array_agg(entry_id), min(token)) FROM claim_audience('Callers');
SELECT remove_from_audience('Callers', '{1,3}');
SELECT * FROM sync_audience('Callers');
SELECT remove_from_audience('Callers', '{2}');
SELECT * FROM sync_audience('Callers');
SELECT hash, state, wanted_for FROM ledger WHERE audience = 'Callers' ORDER BY wanted_for;

-- a removal that is refused is tried again for ever, after 1, 2, 4 minutes, and so on, an hour at most
CREATE FUNCTION refuse(audience text, told text, times int) RETURNS TABLE (after interval, state text, error text) LANGUAGE plpgsql AS $$
DECLARE
	entries bigint[];
	claim bigint;
BEGIN
	FOR i IN 1 .. times LOOP
		SELECT array_agg(c.entry_id), min(c.token) INTO entries, claim FROM crm.claim_audience(audience) AS c;
		PERFORM crm.nack_audience(entries, claim, told);
		RETURN QUERY SELECT l.next_at - crm.now(), l.state, l.error FROM crm.audience_ledger AS l WHERE l.entry_id = ANY (entries);
		PERFORM set_config('crm_marketing.now', max(l.next_at)::text, false) FROM crm.audience_ledger AS l
		  WHERE l.entry_id = ANY (entries) AND l.next_at IS NOT NULL
		 HAVING count(*) > 0;
	END LOOP;
END
$$;
SELECT * FROM refuse('Callers', 'quota', 12);
SELECT item, state, detail FROM status WHERE item LIKE 'ad audience%' ORDER BY 1;
SELECT oldest_removal FROM audience_size WHERE audience = 'Callers';
SELECT nack_audience(array_agg(entry_id), min(token), 'maintenance', '3 days') FROM claim_audience('Callers');
SELECT next_at - crm.now() AS after FROM audience_ledger WHERE state = 'remove';
SELECT count(*) FROM claim_audience('Callers');
SELECT ack_audience(array_agg(entry_id), min(token)) FROM claim_audience('Callers', at => crm.now() + interval '3 days');
SELECT item, state, detail FROM status WHERE item LIKE 'ad audience%' ORDER BY 1;

-- an upload is given up at the tenth time, until somebody says otherwise
SELECT add_to_audience('Callers', '{2}'), sync_audience('Callers');
SELECT * FROM refuse('Callers', 'bad hash', 10);
SELECT count(*) FROM claim_audience('Callers', at => crm.now() + interval '1 year');
SELECT item, state, detail FROM status WHERE item LIKE 'ad audience%' ORDER BY 1;
SELECT refused, wanted FROM audience_size WHERE audience = 'Callers';
SELECT * FROM sync_audience();
SELECT retry_audience('Callers'), retry_audience('Callers');
SELECT * FROM refuse('Callers', 'still bad', 1);
-- what was never there need not be removed
SELECT remove_from_audience('Callers', '{2}'), sync_audience('Callers');
SELECT hash, state, uploaded, wanted_for FROM ledger WHERE audience = 'Callers' ORDER BY hash;

-- A worker that never answers: the upload may have happened, so that leaving means removing. His answer comes too late.
SELECT add_to_audience('Callers', '{1}'), sync_audience('Callers');
SELECT entry_id AS entry, token AS old_token FROM claim_audience('Callers', lease => '1 minute', at => '2027-01-01Z') \gset
SELECT count(*) FROM claim_audience('Callers', at => '2027-01-01 00:00:59Z');
SELECT operation, token > :old_token AS newer FROM claim_audience('Callers', lease => '1 minute', at => '2027-01-01 00:01Z');
SELECT state, uploaded, tries, wanted_for FROM ledger WHERE state = 'adding';
SELECT ack_audience(ARRAY[:entry], :old_token), nack_audience(ARRAY[:entry], :old_token);
SELECT remove_from_audience('Callers', '{1}'), sync_audience('Callers');
SELECT operation, entry_id = :entry AS same, token AS last_token FROM claim_audience('Callers', lease => '1 minute', at => '2027-01-01 00:02Z') \gset
SELECT :'operation' AS operation, :'same' AS same;
SELECT state, uploaded, tries FROM ledger WHERE state = 'removing';
SELECT ack_audience(ARRAY[:entry, 0, :entry, NULL], :last_token);
-- who loses the lease and comes before anybody else is heard
SELECT add_to_audience('Callers', '{1}'), sync_audience('Callers');
SELECT token AS old_token FROM claim_audience('Callers', lease => '1 minute', at => '2027-01-01Z') \gset
SELECT ack_audience(ARRAY[:entry], :old_token);
-- ten uploads without answer are a refusal too
SELECT add_to_audience('Callers', '{2}'), add_to_audience('Callers', '{3}'), record_consent(3, 'ad:meta'), set_contact(3, 'ad:meta', '+7 916 000 00 33');
SELECT * FROM sync_audience_customers('{3}');
SELECT i, operation FROM generate_series(1, 12) AS i, LATERAL claim_audience('Callers', lease => '1 day', at => '2028-01-01Z'::timestamptz + i * interval '1 day');
SELECT state, uploaded, tries, error, wanted_for FROM ledger WHERE state = 'refused';
SELECT remove_from_audience('Callers', '{3}'), sync_audience('Callers');
SELECT state, uploaded, tries, error, wanted_for FROM ledger WHERE state = 'remove';
SELECT ack_audience(array_agg(entry_id), min(token)) FROM claim_audience('Callers', at => '2029-01-01Z');

-- what the network says it has
SELECT hash, state, wanted_for FROM ledger WHERE audience = 'Callers' ORDER BY hash;
SELECT left(hash, 8) AS hash, difference
  FROM reconcile_audience('Callers', ARRAY[upper(encode(sha256('79160000033'), 'hex')), encode(sha256('stranger'), 'hex'), encode(sha256('stranger'), 'hex'),
										   encode(sha256('79160000001'), 'hex')]);
SELECT hash, state, uploaded, wanted_for FROM ledger WHERE audience = 'Callers' ORDER BY hash;
SELECT count(*) FROM reconcile_audience('Callers', ARRAY[encode(sha256('stranger'), 'hex'), encode(sha256('79160000033'), 'hex'), encode(sha256('79160000001'), 'hex')]);
SELECT left(hash, 8) AS hash, difference FROM reconcile_audience('Callers', '{}');
SELECT hash, state, uploaded, wanted_for FROM ledger WHERE audience = 'Callers' ORDER BY hash;
-- what is removed is kept for the record as long as one wants
SELECT set_retention('audience_ledger', '1 year');
SELECT * FROM apply_retention(crm.now() + interval '13 months');
SELECT set_retention('audience_ledger', NULL);
SELECT hash, state FROM ledger WHERE audience = 'Callers' ORDER BY hash;

-- an audience that is dropped goes with the last hash; until it is dropped, its segment stays
SELECT drop_segment('in Perm');
SELECT drop_audience('Perm at Google'), drop_audience('Perm at Google');
SELECT drop_segment('in Perm');
SELECT * FROM sync_audience();
SELECT * FROM audience_size ORDER BY 1;
SELECT item, state, detail FROM status WHERE item LIKE 'ad audience%' ORDER BY 1;
SELECT create_audience('Perm at Google', 'ad:google');
SELECT ack_audience(array_agg(entry_id), min(token)) FROM claim_audience('Perm at Google');
SELECT audience FROM audience;
SELECT ack_audience(array_agg(entry_id), min(token)) FROM claim_audience('Callers', at => '2029-01-01Z');
SELECT drop_audience('Callers');
SELECT stopped, present, to_add, to_remove FROM audience_size;
SELECT add_to_audience('Callers', '{1}');
SELECT drop_audience('Callers', true);
SELECT (SELECT count(*) FROM audience) AS audiences, (SELECT count(*) FROM audience_ledger) AS entries, (SELECT count(*) FROM audience_member) AS members,
	   (SELECT count(*) FROM audience_link) AS links;
SELECT create_audience('Nobody', 'ad:meta'), drop_audience('Nobody');
SELECT * FROM audience_size;

-- errors
SELECT create_segment('in Omsk', 'city = ''Omsk''');
SELECT create_audience('Omsk', 'ad:google', 'in Omsk'), create_audience('By hand', 'ad:google');
SELECT create_audience('Omsk', 'ad:google');
SELECT create_audience(NULL, 'ad:google');
SELECT create_audience('x', NULL);
SELECT create_audience('x', 'ad:yandex');
SELECT create_audience('x', 'telegram');
SELECT create_audience('x', 'ad:google', 'in Omks');
SELECT create_audience('x', 'ad:google', purpose => '*');
SELECT create_audience('x', 'ad:google', hash_form => 'md5');
SELECT create_audience(' x', 'ad:google');
SELECT create_audience(repeat('x', 64), 'ad:google');
SELECT create_audience('', 'ad:google');
SELECT add_to_audience('Omsk', '{1}');
SELECT add_to_audience('By hnad', '{1}');
SELECT add_to_audience('By hand', '{1,NULL}');
SELECT remove_from_audience('By hand', NULL);
SELECT remove_from_audience(NULL, '{1}');
SELECT sync_audience('nothing like it');
SELECT sync_audience(NULL, NULL);
SELECT sync_audience(at => 'infinity');
SELECT sync_audience_customers(NULL), 1;
SELECT sync_audience_customers('{1,NULL}');
SELECT sync_audience_customers('{}');
SELECT claim_audience(NULL);
SELECT claim_audience('By hand', 0);
SELECT claim_audience('By hand', lease => '-1 second');
SELECT claim_audience('By hand', at => 'infinity');
SELECT claim_audience('By hand', NULL);
SELECT nack_audience('{1}', 1, retry_after => '-1 second');
SELECT nack_audience(NULL, NULL);
SELECT reconcile_audience('By hand', NULL);
SELECT reconcile_audience('By hand', '{abc}');
SELECT reconcile_audience('By hand', ARRAY[NULL]);
SELECT drop_audience('By hand', NULL);
SELECT drop_audience(NULL);
SELECT retry_audience('by hand');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT sync_audience();
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT claim_audience('By hand');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT ack_audience('{1}', 1);
ROLLBACK;
DROP VIEW ledger;
DROP FUNCTION refuse;
DROP TABLE users CASCADE;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;
