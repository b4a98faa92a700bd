-- Duplicates: who may be one person.

CREATE FUNCTION crm.duplicates(least_similarity real DEFAULT 0.6)
	RETURNS TABLE (customer_a bigint, customer_b bigint, reason text, detail text, similarity real)
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
	-- What more people than these share is a firm's or a placeholder, and says nothing
	most CONSTANT int := 20;
	trgm CONSTANT regnamespace := (SELECT e.extnamespace FROM pg_extension AS e WHERE e.extname = 'pg_trgm');
BEGIN
	IF least_similarity IS NULL OR least_similarity NOT BETWEEN 0 AND 1 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'least similarity must be between 0 and 1';
	END IF;

	RETURN QUERY
	WITH known AS (
		SELECT DISTINCT i.namespace, i.value, coalesce(a.customer_id, i.customer_id) AS customer_id
		  FROM crm.identity AS i
		  LEFT JOIN crm.alias AS a ON a.alias = i.customer_id
		 WHERE i.namespace <> 'shop'
		   AND NOT EXISTS (SELECT FROM crm.shared_identity AS s WHERE s.namespace = i.namespace AND s.value = i.value)
	), shared AS (
		SELECT k.namespace, k.value, array_agg(k.customer_id ORDER BY k.customer_id) AS customers
		  FROM known AS k
		 GROUP BY 1, 2
		HAVING count(*) BETWEEN 2 AND most
	), pair AS (
		SELECT a AS customer_a, b AS customer_b, 'same ' || s.namespace AS reason, s.value AS detail
		  FROM shared AS s
		 CROSS JOIN unnest(s.customers) AS a
		 CROSS JOIN unnest(s.customers) AS b
		 WHERE a < b
	)
	SELECT p.customer_a, p.customer_b, p.reason, p.detail, 1::real
	  FROM pair AS p
	 WHERE NOT crm.are_kept_apart(p.customer_a, p.customer_b)
	 ORDER BY 1, 2, 3, 4;

	IF trgm IS NULL THEN
		RETURN;
	END IF;
	-- Names are compared within a city, and only where each word begins alike, whatever the order of the words
	RETURN QUERY EXECUTE format($query$
		WITH described AS (
			SELECT coalesce(a.customer_id, r.customer_id) AS customer_id,
				   coalesce(max(r.value) FILTER (WHERE r.name = 'name'),
							concat_ws(' ', max(r.value) FILTER (WHERE r.name = 'first_name'), max(r.value) FILTER (WHERE r.name = 'last_name'))) AS name,
				   max(r.value) FILTER (WHERE r.name = 'city') AS city
			  FROM crm.read_attributes('{name,first_name,last_name,city}') AS r
			  LEFT JOIN crm.alias AS a ON a.alias = r.customer_id
			 GROUP BY r.customer_id, a.customer_id
		), person AS (
			SELECT DISTINCT d.customer_id, n.name, lower(btrim(d.city)) AS city, n.key
			  FROM described AS d
			 CROSS JOIN LATERAL (
				SELECT string_agg(w, ' ' ORDER BY w) AS name, string_agg(left(w, 2), ' ' ORDER BY w) AS key
				  FROM regexp_split_to_table(lower(d.name), '[^[:alnum:]]+') AS w
				 WHERE w <> '') AS n
			 WHERE n.name IS NOT NULL AND d.city IS NOT NULL
		)
		SELECT a.customer_id, b.customer_id, 'similar name and city', max(a.name || ' / ' || b.name || ', ' || a.city), max(%1$s.similarity(a.name, b.name))
		  FROM person AS a
		  JOIN person AS b ON b.city = a.city AND b.key = a.key AND b.customer_id > a.customer_id
		 WHERE %1$s.similarity(a.name, b.name) >= $1
		   AND NOT crm.are_kept_apart(a.customer_id, b.customer_id)
		 GROUP BY 1, 2
		 ORDER BY 5 DESC, 1, 2$query$, trgm)
	USING least_similarity;
END
$function$;
COMMENT ON FUNCTION crm.duplicates(real) IS
'pairs of customers who may be one person, with the reason: they share an identity (same phone, same email, same card ...) that crm.share_identity() has not said to be several people''s and that no more than 20 have; or, where the extension pg_trgm is installed and the customers'' feed has name (or first_name and last_name) and city, they have similar names (at least so similar, from 0 to 1) in one city. Pairs of crm.forbid_merge() are left out. A pair may come with several reasons. Nothing is merged: that is for crm.merge_customers(). Errors: 22023 a similarity out of range, those of a stale feed';
