-- Where can he be written to: addresses, consents, suppressions; before, in and after a merge.
\pset null -
SET timezone = 'UTC';
SET client_min_messages = warning;
\set SHOW_CONTEXT never
SET search_path = public, crm;
SET crm_marketing.now = '2026-03-01Z';
CREATE TABLE users (id bigint PRIMARY KEY, phone text, email text);
INSERT INTO users VALUES (1, '+7 916 000-00-01', 'a@example.org'), (2, '+7 916 000-00-02', NULL), (3, NULL, 'c@example.org'), (4, NULL, NULL);
SELECT define_customers('SELECT id AS customer_id, phone, email FROM public.users');
SELECT create_segment('agreed', 'consents contains ''sms'''), create_segment('sms reachable', 'reachable contains ''sms'''),
	   create_segment('has phone', 'channels contains ''call'''), create_segment('left', 'has unsubscribe[channel = ''*''] in last 7 days');
SELECT refresh_segments();
CREATE VIEW now_in AS
	SELECT s.segment, array_agg(s.customer_id ORDER BY s.customer_id) AS customers FROM crm.segment_member AS s GROUP BY 1;
SELECT * FROM contact_states(NULL) ORDER BY 1;
SELECT record_consent(1, 'sms', at => '2026-01-01Z', proof => '{"form": "checkout"}'), record_consent(1, 'email', 'news', at => '2026-01-01Z'),
	   record_consent(2, 'sms', at => '2026-01-02Z');
SELECT refresh_segments();
TABLE now_in ORDER BY 1;
SELECT * FROM contact_states('{1,2,3}') ORDER BY 1;
SELECT * FROM contacts_of(1);
SELECT (contact_for(1, 'sms')).*;
SELECT (contact_for(1, 'email')).*, (contact_for(1, 'email', 'news')).*;
SELECT (contact_for(4, 'email')).*;
SELECT (contact_for(NULL, 'email')).*;

-- an address of one's own goes before the feed's, also that there is none
SELECT set_contact(1, 'sms', '+7 (916) 000 00 11'), set_contact(2, 'sms', NULL), set_contact(3, 'telegram', ' @clara ');
SELECT channel, address, purposes, reachable FROM contacts_of(1);
SELECT * FROM contact_states('{2,3}') ORDER BY 1;
SELECT set_contact(1, 'sms', '+7 916 000 00 12', at => '2026-02-01Z');
SELECT (contact_for(1, 'sms')).*;
SELECT reset_contact(2, 'sms'), reset_contact(2, 'sms'), reset_contact(NULL, 'sms');
SELECT (contact_for(2, 'sms')).*;

-- the last word counts; of two at one instant the refusal
SELECT record_consent(2, 'sms', granted => false, at => '2026-01-03Z');
SELECT consents, reachable FROM contact_states('{2}');
SELECT record_consent(2, 'sms', at => '2026-01-04Z');
SELECT consents, reachable FROM contact_states('{2}');
SELECT unsubscribe(2, at => '2026-01-04Z');
SELECT consents, reachable FROM contact_states('{2}');
SELECT record_consent(2, 'sms', at => '2026-01-03 12:00Z');
SELECT consents, reachable FROM contact_states('{2}');
SELECT record_consent(2, 'sms', at => '2026-02-25Z');
SELECT consents, reachable FROM contact_states('{2}');
SELECT unsubscribe(2, 'sms', at => '2026-02-26Z'), unsubscribe(1, at => '2026-02-26Z');
SELECT refresh_segments();
TABLE now_in ORDER BY 1;
SELECT record_consent(1, 'sms', at => '2026-02-27Z');

-- do not call: by address, whoever has it; the operator's task is a call too
SELECT record_consent(c, h, at => '2026-02-28Z') FROM unnest('{1,3}'::bigint[]) AS c, unnest('{call,task,sms,email}'::text[]) AS h;
SELECT suppress_address('call', '+7 916 000-00-01', 'asked us to'), suppress_address('email', 'C@Example.org'), suppress_address('email', 'c@example.org');
SELECT customer_id, reachable FROM contact_states('{1,3}') ORDER BY 1;
UPDATE users SET phone = '+7 916 000-00-03' WHERE id = 1;
SELECT refresh_identities();
SELECT customer_id, reachable FROM contact_states('{1,3}') ORDER BY 1;
UPDATE users SET phone = '+7 916 000-00-01' WHERE id = 1;
SELECT refresh_identities();
SELECT customer_id, reachable FROM contact_states('{1,3}') ORDER BY 1;
SELECT release_address('call', '+7 916 000-00-01'), release_address('call', '+7 916 000-00-01');
SELECT customer_id, reachable FROM contact_states('{1,3}') ORDER BY 1;
SELECT channel, encode(address_hash, 'hex') AS hash, reason FROM suppression;

-- a merge makes nobody reachable: 1 has agreed, 2 has refused, 4 is silent
SELECT merge_customers(4, 1);
SELECT customer_id, consents, reachable FROM contact_states('{1,4}') ORDER BY 1;
-- an address comes with its owner's consent only: 4 has a phone now, of which nobody has said anything before they were one
UPDATE users SET phone = '+7 916 000-00-04' WHERE id = 4;
SELECT refresh_identities();
SELECT channel, address, purposes, reachable FROM contacts_of(4) WHERE channel IN ('sms', 'call');
SET crm_marketing.now = '2026-03-02Z';
SELECT record_consent(4, 'call');
SELECT channel, address, purposes, reachable FROM contacts_of(4) WHERE channel IN ('sms', 'call');
SELECT (contact_for(1, 'call')).*, (contact_for(1, 'sms')).*;
-- with 2 comes a refusal of everything, which is older than what 1 has said: but not than that they are one
SELECT merge_customers(4, 2);
SELECT customer_id, consents, reachable FROM contact_states('{4}') ORDER BY 1;
-- as one person he may take it back
SET crm_marketing.now = '2026-03-03Z';
SELECT record_consent(1, 'sms');
SELECT customer_id, consents, reachable FROM contact_states('{4}') ORDER BY 1;
SELECT unmerge_customers(2);
SELECT customer_id, consents, reachable FROM contact_states('{1,2,4}') ORDER BY 1;
SELECT unmerge_customers(1);
SELECT customer_id, consents, reachable FROM contact_states('{1,2,4}') ORDER BY 1;

-- an address that somebody has told of before it came into the feed is the feed's as well, and stays when either takes it back
SELECT link_identity(4, 'email', 'D@Example.org');
SELECT channel, address FROM contacts_of(4);
UPDATE users SET email = 'd@EXAMPLE.org' WHERE id = 4;
SELECT refresh_identities();
SELECT channel, address FROM contacts_of(4);
SELECT namespace, value, source, raw FROM crm.identity WHERE customer_id = 4;
SELECT unlink_identity(4, 'email', 'd@example.org'), unlink_identity(4, 'email', 'd@example.org');
SELECT channel, address FROM contacts_of(4);
SELECT link_identity(3, 'email', 'clara@example.org');
UPDATE users SET email = 'clara@example.org' WHERE id = 3;
SELECT refresh_identities();
UPDATE users SET email = 'c@example.org' WHERE id = 3;
SELECT refresh_identities();
SELECT channel, address FROM contacts_of(3) WHERE channel = 'email';
SELECT value, source, raw FROM crm.identity WHERE customer_id = 3 AND namespace = 'email' ORDER BY 1;

-- errors
SELECT set_contact(1, 'fax', '123');
SELECT set_contact(1, 'sms', '123');
SELECT set_contact(1, NULL, '123');
SELECT set_contact(NULL, 'sms', NULL);
SELECT record_consent(1, 'fax');
SELECT record_consent(1, '*');
SELECT record_consent(1, 'sms', '*');
SELECT record_consent(1, 'sms', 'Any!');
SELECT record_consent(1, 'sms', NULL);
SELECT record_consent(1, 'sms', at => '2999-01-01');
SELECT record_consent(1, 'sms', at => '-infinity');
SELECT suppress_address('email', 'nobody');
SELECT suppress_address('email', NULL);
SELECT suppress_address('fax', 'x');
SELECT contact_for(1, 'fax');
SELECT contact_states('{NULL}');
SELECT contacts_of(NULL);
DROP VIEW now_in;
DROP TABLE users CASCADE;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;
