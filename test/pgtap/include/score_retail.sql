-- UCI Online Retail (Chen, Sain, Guo 2012; CC BY 4.0) as a shop with feeds, read from the file :'csv', for the tests of
-- scores. Times in the file are British wall-clock time, and so is the shop's.

CREATE TEMP TABLE retail_raw (
	invoice_no		text,
	stock_code		text,
	description		text,
	quantity		int,
	invoice_date	timestamp,
	unit_price		numeric,
	customer_id		int,
	country			text
) ON COMMIT DROP;

SELECT format('COPY retail_raw FROM PROGRAM %L WITH (FORMAT csv, HEADER)',
			  'gzip -dc ''' || replace(:'csv', '''', '''\''''') || '''') \gexec

-- An invoice is placed when its first line is.
CREATE TABLE public.retail AS
SELECT invoice_no, customer_id::bigint AS customer,
	   min(invoice_date) OVER (PARTITION BY invoice_no) AT TIME ZONE 'Europe/London' AS at,
	   stock_code AS item, quantity, quantity * unit_price AS amount
  FROM retail_raw
 WHERE customer_id IS NOT NULL AND quantity > 0 AND unit_price > 0;
ANALYZE public.retail;

SELECT crm.configure('timezone', 'Europe/London') \g /dev/null
SELECT crm.define_event('purchase', $$
	SELECT customer AS customer_id, at, item, quantity, amount FROM public.retail
$$) \g /dev/null
SELECT crm.define_event('order', $$
	SELECT customer AS customer_id, min(at) AS at, sum(amount) AS amount FROM public.retail GROUP BY customer, invoice_no
$$) \g /dev/null
SET LOCAL crm_marketing.now = '2011-12-10 00:00:00Z';
