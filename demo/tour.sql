-- A walk through the demo shop: what the segments look like on 15 June 2026, noon UTC. Only reads.

\set ON_ERROR_STOP on
\set QUIET on
\pset footer off
\pset null ''
SET TimeZone = 'Europe/Moscow';

-- The shop's clock stands still, so that the tour shows the same at any time.
SET crm_marketing.now = '2026-06-15 12:00+00';

\echo
\echo == Segments
\echo

SELECT name, size, repeat('█', ceil(40.0 * size / greatest(max(size) OVER (), 1))::int) AS bar
  FROM crm.segments
 ORDER BY size DESC, name;

-- Of the people who have just left a cart, the one with the most orders behind.
SELECT m.customer_id AS customer, count(o.id) AS orders, sum(o.total) AS spent
  FROM crm.members('abandoned_cart') AS m(customer_id)
  JOIN public.orders o ON o.user_id = m.customer_id AND o.status <> 'cancelled'
 GROUP BY m.customer_id
 ORDER BY count(o.id) DESC, m.customer_id
 LIMIT 1
\gset

\echo
\echo == Why is customer :customer, who has :orders orders worth :spent, in abandoned_cart, and until when?
\echo

SELECT repeat('   ', depth) || text AS node, value, truth, until, events
  FROM crm.explain(:customer, 'abandoned_cart');

\echo
\echo == ... and in flat_basket?
\echo

SELECT repeat('   ', depth) || text AS node, value, truth, until
  FROM crm.explain(:customer, 'flat_basket');

\echo
\echo == What the shop knows of them, joined straight to its own tables
\echo

SELECT u.id, u.city, u.profession, c.created_at AS left_at, c.sku, p.category, p.price
  FROM crm.members('abandoned_cart') AS m(customer_id)
  JOIN public.users u ON u.id = m.customer_id
  JOIN LATERAL (SELECT created_at, sku
				  FROM public.carts
				 WHERE user_id = u.id AND created_at <= '2026-06-15 11:00+00'
				 ORDER BY created_at DESC, id DESC
				 LIMIT 1) c ON true
  JOIN public.products p USING (sku)
 ORDER BY p.price DESC, u.id
 LIMIT 10;

\echo
\echo == Sleeping customers, month by month: computed from the orders, not remembered
\echo

SELECT to_char(at, 'YYYY-MM-DD') AS at, size, repeat('█', ceil(40.0 * size / greatest(max(size) OVER (), 1))::int) AS bar
  FROM crm.segment_size('sleeping', '2025-07-01 00:00+03', '2026-06-01 00:00+03', '1 month');

\echo
\echo == A thought, tried before it becomes a segment
\echo

\set thought 'count(order) >= 3 and no order in last 60 days and has view[category = \'laptop\'] in last 30 days'
\echo :thought
\echo

SELECT * FROM crm.preview(:'thought');
