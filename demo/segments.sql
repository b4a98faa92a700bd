-- Segments, as a marketer would say them. A segment is a predicate with a name; membership is computed for all of them
-- together, in one pass over each feed.

\set ON_ERROR_STOP on
\set ECHO queries
\o /dev/null

-- Bought once, and then went quiet
SELECT crm.create_segment('sleeping', $$has order and no order in last 90 days$$);

-- Registered in the capital, nothing bought for a month
SELECT crm.create_segment('moscow_idle', $$city = 'Moscow' and registered is known and no order in last 1 month$$);

-- Exactly an hour after the cart, if no order came
SELECT crm.create_segment('abandoned_cart', $$has cart[not followed by order within 1 hour] in last 1 day$$);

SELECT crm.create_segment('birthday_soon', $$anniversary(birthday) in next 30 days$$);

-- A professional holiday, known a week ahead
SELECT crm.create_segment('medics_day', $$profession = 'medic' and '2026-06-21' in next 7 days$$);

SELECT crm.create_segment('sku_7_buyer', $$has purchase[item = 'SKU-7'] in last 1 month$$);

-- Time to ask how the new laptop is doing
SELECT crm.create_segment('laptop_week', $$has purchase[category = 'laptop'] between 7 days and 8 days ago$$);

-- A laptop, and no accessory in the month after it
SELECT crm.create_segment('bare_laptop', $$
	has purchase[category = 'laptop' and not followed by purchase[category = 'accessory'] within 30 days] in last 60 days
$$);

-- Comes back to one thing again and again, and does not buy
SELECT crm.create_segment('undecided', $$most(view.item in last 14 days) >= 3 and no order in last 14 days$$);

SELECT crm.create_segment('one_brand', $$count(purchase) >= 3 and distinct(purchase.brand) = 1$$);

-- The basket does not grow
SELECT crm.create_segment('flat_basket', $$
	avg(order.amount in last 90 days) <= avg(order.amount before 90 days ago)
$$);

SELECT crm.create_segment('first_week', $$first(order) in last 7 days and first(order) before 1 day ago$$);

SELECT crm.create_segment('every_month', $$distinct(order.month_of previous 6 months) = 6$$);

-- The courier was late: call before they complain
SELECT crm.create_segment('courier_late', $$has delivery[at > promised + 1 hour] in last 7 days$$);

SELECT crm.create_segment('vip', $$sum(order.amount in last 1 year) >= 300000$$);

\o
SELECT * FROM crm.refresh_segments(at => '2026-06-15 12:00+00');
\unset ECHO
