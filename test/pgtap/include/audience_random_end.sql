-- What is to be so after whatever has happened by audience_random.sql, and when the workers are done.

SELECT cmp_ok((SELECT count(*) FROM public.regress_done AS d WHERE d.what ~ '^(add|remove)'), '>=', 500::bigint, 'much was told');
SELECT cmp_ok((SELECT min(n) FROM (SELECT count(d.step) AS n FROM unnest(ARRAY['merge', 'unmerge', 'erase', 'suppress', 'refuse', 'feed', 'set', 'add: lost',
	'add: nack', 'add: late', 'remove: ack', 'remove: lost', 'remove: nack', 'remove: late', 'late heard', 'late in vain', 'drift']) AS w
	LEFT JOIN public.regress_done AS d ON d.what = w GROUP BY w) AS x), '>=', 5::bigint, 'and everything has happened');
SELECT is_empty($$SELECT w.* FROM public.regress_wrong AS w WHERE w.what = 'added what nobody wants' LIMIT 5$$, 'nothing was given out to be uploaded that was not wanted by then');
SELECT is_empty($$SELECT w.* FROM public.regress_wrong AS w WHERE w.what = 'removed what was not there' LIMIT 5$$, 'and nothing to be removed that cannot have been there');
SELECT is_empty($$SELECT w.* FROM public.regress_wrong AS w WHERE w.what = 'mismatch' LIMIT 5$$, 'who is wanted was always as if worked out anew');
SELECT is_empty($$SELECT w.* FROM public.regress_wrong AS w WHERE w.what = 'unsettled' LIMIT 5$$, 'and the ledger what follows from it');
SELECT is_empty($$SELECT w.* FROM public.regress_wrong AS w WHERE w.what IN ('not heard', 'not found') LIMIT 5$$, 'who had a claim was heard, and drift found');

-- in the end
CREATE FUNCTION pg_temp.drain() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 5 LOOP
		PERFORM pg_temp.later('10 hours'), crm.retry_audience(a.audience) FROM crm.audience AS a WHERE a.stopped IS NULL;
		PERFORM * FROM pg_temp.work();
	END LOOP;
END
$$;
SELECT pg_temp.drain();
SELECT isnt_empty($$SELECT FROM public.regress_network$$, 'in the end the network has somebody');
SELECT set_eq($$SELECT n.* FROM public.regress_network AS n$$, $$SELECT a.audience, e FROM crm.audience AS a, pg_temp.expected(a.audience) AS e$$,
	'exactly those whom it is to have');
SELECT is_empty($$SELECT s.* FROM crm.audience_size AS s WHERE s.wanted <> s.present OR s.to_add + s.to_remove + s.refused > 0$$, 'as the ledger says');
SELECT is_empty($$SELECT FROM crm.audience_link AS k JOIN crm.erased_customer AS e USING (customer_id)
				   UNION ALL SELECT FROM crm.audience_ledger AS l WHERE l.forget AND l.state = 'removed'$$, 'nothing is left of those who were erased');
SELECT crm.drop_audience(a.audience) FROM public.regress_audience AS a;
SELECT pg_temp.later();
SELECT pg_temp.drain();
SELECT is_empty($$SELECT FROM public.regress_network UNION ALL SELECT FROM crm.audience$$, 'and when the audiences are dropped, nothing of anybody');
