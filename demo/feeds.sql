-- What the shop tells crm_marketing about itself: who the customers are, and what happens to them. Each feed is one
-- SELECT over the shop's own tables; nothing is copied.

\set ON_ERROR_STOP on
\set ECHO queries
\o /dev/null

CREATE EXTENSION crm_marketing;

SELECT crm.configure('timezone', 'Europe/Moscow');

SELECT crm.define_customers($$
	SELECT id AS customer_id, email, phone, city, birthday, profession, created_at AS registered
	  FROM public.users
$$);

SELECT crm.define_event('visit', $$
	SELECT user_id AS customer_id, visited_at AS at, source
	  FROM public.visits
$$);

SELECT crm.define_event('view', $$
	SELECT v.user_id AS customer_id, v.viewed_at AS at, v.sku AS item, p.category, p.brand
	  FROM public.product_views v
	  JOIN public.products p USING (sku)
$$);

SELECT crm.define_event('cart', $$
	SELECT user_id AS customer_id, created_at AS at, sku AS item, qty AS quantity
	  FROM public.carts
$$);

SELECT crm.define_event('order', $$
	SELECT user_id AS customer_id, placed_at AS at, total AS amount, status
	  FROM public.orders
	 WHERE status <> 'cancelled'
$$);

SELECT crm.define_event('purchase', $$
	SELECT o.user_id AS customer_id, o.placed_at AS at, i.sku AS item, i.qty AS quantity, i.qty * i.price AS amount,
		   p.category, p.brand
	  FROM public.order_items i
	  JOIN public.orders o ON o.id = i.order_id
	  JOIN public.products p USING (sku)
	 WHERE o.status <> 'cancelled'
$$);

SELECT crm.define_event('delivery', $$
	SELECT o.user_id AS customer_id, d.handed_at AS at, d.promised
	  FROM public.deliveries d
	  JOIN public.orders o ON o.id = d.order_id
$$);

\o
\unset ECHO
