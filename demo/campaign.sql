-- A campaign, looked at before it is started: who would get what, and what it would have done last week.

\set ON_ERROR_STOP on
\set ECHO queries
SET search_path = public, crm;
SET crm_marketing.now = '2026-06-15 12:00+00';

SELECT crm.set_template('cart', 'email', '{"subject": "You left something", "html": "<p>Your {{event.item}} waits for you.</p>"}');
SELECT count(crm.record_consent(id, 'email')) AS agreed FROM public.users WHERE id % 3 > 0;

SELECT crm.create_campaign('cart', trigger => $$has cart[not followed by order within 1 hour] in last 1 day$$,
								   goal => $$has order since entry$$, holdout => 10);
SELECT crm.add_step('cart', 'letter', channel => 'email', template => 'cart');
SELECT crm.add_step('cart', 'call', wait => '2 days', task => '{"script": "Does {{customer.email}} need help?", "assignees": ["anna"]}');

-- the carts of the last hour: who will get a letter, and who will not, and why
SELECT decision, count(*), min(due_at), max(due_at) FROM crm.dry_run('cart', '1 hour') WHERE action = 'message' GROUP BY decision ORDER BY 2 DESC;

-- and last week, with what each then bought
SELECT CASE WHEN held THEN 'held out' ELSE 'written to' END AS who, count(DISTINCT (customer_id, entry)) AS runs,
	   count(*) FILTER (WHERE action = 'message') AS letters, count(*) FILTER (WHERE action = 'goal') AS goals,
	   sum(orders) AS orders, sum(revenue) AS revenue
  FROM crm.backtest('cart', '2026-06-08 12:00+00', '2026-06-15 12:00+00') GROUP BY held ORDER BY 1 DESC;
\unset ECHO
