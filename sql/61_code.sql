-- Promo codes: a stock of them, who has got which, and what became of it.
--
-- A code outlives the person who has it: crm.promo_code tells nothing of people, so that an erasure deletes who had a code and
-- who redeemed it, and the code stays given out for good.
--
-- The free codes of a pool are taken in the order of their numbers. What was taken while somebody holds an old snapshot stays
-- in the index of the free ones as dead entries, all at its front. So a search begins behind the greatest number that anybody
-- has, which is one probe of an index that only grows at its end; numbers before that which a rollback has given back are
-- looked for when there are none behind. That a stock is used up is remembered with the pool, else everybody who asks in vain
-- would read all dead entries.

CREATE SEQUENCE crm.code_id_seq;
COMMENT ON SEQUENCE crm.code_id_seq IS 'numbers of the codes in crm.promo_code';

CREATE TABLE crm.code_pool (
	pool		text NOT NULL PRIMARY KEY,
	pattern		text,
	valid_for	interval,
	valid_until	timestamptz,
	low_at		int,
	personal	boolean NOT NULL DEFAULT true,
	empty		boolean NOT NULL DEFAULT false,
	created_at	timestamptz NOT NULL
);
COMMENT ON TABLE crm.code_pool IS 'pools of promo codes, as crm.define_code_pool() was told; crm.code_stock shows what is in them';
COMMENT ON COLUMN crm.code_pool.pool IS 'name of the pool';
COMMENT ON COLUMN crm.code_pool.pattern IS
'by which codes are made, each # a random letter or digit; NULL: codes are those of crm.add_codes()';
COMMENT ON COLUMN crm.code_pool.valid_for IS 'how long a code is valid after it was taken, days and months in the zone of the shop; NULL: no such limit';
COMMENT ON COLUMN crm.code_pool.valid_until IS 'when all codes that are taken from now on expire at the latest; NULL: no such limit';
COMMENT ON COLUMN crm.code_pool.low_at IS 'the stock is low when no more than so many are free; NULL: it never is';
COMMENT ON COLUMN crm.code_pool.personal IS 'a code is redeemed only by the person who has it';
COMMENT ON COLUMN crm.code_pool.empty IS
'it is known that no code is free, not even after a rollback; false tells nothing. crm.add_codes() sets it back';
COMMENT ON COLUMN crm.code_pool.created_at IS 'when it was defined first';

-- Case and blanks around it are not what somebody mistypes a code by
CREATE FUNCTION crm.code_key(code text) RETURNS text
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN upper(btrim(code, E' \t\r\n')) COLLATE "C";
COMMENT ON FUNCTION crm.code_key(text) IS
'a code as it is compared: without blanks around it, in upper case as the database''s locale has it. NULL gives NULL';

CREATE TABLE crm.promo_code (
	code_id			bigint NOT NULL DEFAULT pg_catalog.nextval('crm.code_id_seq'),
	pool			text NOT NULL,
	code			text NOT NULL,
	taken_at		timestamptz,
	valid_until		timestamptz,
	redeemed_at		timestamptz,
	reference		text,
	withdrawn_at	timestamptz,
	PRIMARY KEY (pool, code_id),
	CONSTRAINT promo_code_redeemed_when_taken CHECK (redeemed_at IS NULL OR taken_at IS NOT NULL),
	CONSTRAINT promo_code_reference_when_redeemed CHECK (reference IS NULL OR redeemed_at IS NOT NULL)
);
CREATE UNIQUE INDEX promo_code_code_idx ON crm.promo_code (crm.code_key(code));
CREATE INDEX promo_code_free_idx ON crm.promo_code (pool, code_id) WHERE taken_at IS NULL AND withdrawn_at IS NULL;
-- A reference may be longer than what a btree holds
CREATE INDEX promo_code_reference_idx ON crm.promo_code USING hash (reference) WHERE reference IS NOT NULL;
COMMENT ON TABLE crm.promo_code IS
'promo codes, free and given out, of all pools; crm.customer_code has who has them, crm.code_redemption who redeemed them';
COMMENT ON COLUMN crm.promo_code.code_id IS 'number of the code, over all pools; those of a pool are given out in this order';
COMMENT ON COLUMN crm.promo_code.pool IS 'its pool';
COMMENT ON COLUMN crm.promo_code.code IS 'the code, as it is shown to people';
COMMENT ON COLUMN crm.promo_code.taken_at IS 'when it was given out; NULL: it is free';
COMMENT ON COLUMN crm.promo_code.valid_until IS 'when it expires, that instant not included; NULL: never, or it is free';
COMMENT ON COLUMN crm.promo_code.redeemed_at IS 'when it was redeemed; NULL: it was not, or was released again';
COMMENT ON COLUMN crm.promo_code.reference IS 'for what it was redeemed, as a rule the number of an order; goes with the person who redeemed it';
COMMENT ON COLUMN crm.promo_code.withdrawn_at IS 'when it was made invalid for good';
COMMENT ON INDEX crm.promo_code_code_idx IS 'a code is there once, in all pools';
COMMENT ON INDEX crm.promo_code_free_idx IS 'the free ones of a pool';
COMMENT ON INDEX crm.promo_code_reference_idx IS 'what was redeemed for an order';

CREATE TABLE crm.customer_code (
	customer_id	bigint NOT NULL,
	pool		text NOT NULL,
	occasion	text NOT NULL,
	code_id		bigint NOT NULL,
	code		text NOT NULL,
	taken_at	timestamptz NOT NULL,
	PRIMARY KEY (customer_id, pool, occasion)
);
CREATE INDEX customer_code_pool_idx ON crm.customer_code (pool, code_id);
COMMENT ON TABLE crm.customer_code IS 'who has which promo code';
COMMENT ON COLUMN crm.customer_code.customer_id IS 'who; of a merged one, the id by which it came';
COMMENT ON COLUMN crm.customer_code.pool IS 'from which pool';
COMMENT ON COLUMN crm.customer_code.occasion IS 'for what, in the caller''s words: there is one code of a pool for each occasion';
COMMENT ON COLUMN crm.customer_code.code_id IS 'number of the code in crm.promo_code';
COMMENT ON COLUMN crm.customer_code.code IS 'the code, as it is shown to people';
COMMENT ON COLUMN crm.customer_code.taken_at IS 'when it was given to him';
COMMENT ON INDEX crm.customer_code_pool_idx IS 'whose a code is, and the greatest number that was given out of a pool';

CREATE TABLE crm.code_redemption (
	customer_id	bigint NOT NULL,
	code_id		bigint NOT NULL,
	at			timestamptz NOT NULL,
	pool		text NOT NULL,
	occasion	text,
	reference	text,
	PRIMARY KEY (customer_id, code_id)
);
CREATE INDEX code_redemption_code_id_idx ON crm.code_redemption (code_id);
COMMENT ON TABLE crm.code_redemption IS 'who redeemed which promo code; a row goes when the code is released again';
COMMENT ON COLUMN crm.code_redemption.customer_id IS
'who: as crm.redeem_code() was told, else who had the code; of a merged one, the id by which it came';
COMMENT ON COLUMN crm.code_redemption.code_id IS 'number of the code in crm.promo_code';
COMMENT ON COLUMN crm.code_redemption.at IS 'when';
COMMENT ON COLUMN crm.code_redemption.pool IS 'pool of the code';
COMMENT ON COLUMN crm.code_redemption.occasion IS 'for what the code was given; NULL when it is not known any more whom it was given to';
COMMENT ON COLUMN crm.code_redemption.reference IS 'for what it was redeemed, as a rule the number of an order';
COMMENT ON INDEX crm.code_redemption_code_id_idx IS 'who redeemed a code';

SELECT pg_catalog.pg_extension_config_dump('crm.code_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('crm.code_pool', '');
SELECT pg_catalog.pg_extension_config_dump('crm.promo_code', '');
SELECT pg_catalog.pg_extension_config_dump('crm.customer_code', '');
SELECT pg_catalog.pg_extension_config_dump('crm.code_redemption', '');

------------------------------------------------------------------------------------------------------------------
-- Pools
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.refuse_unknown_pool(pool text) RETURNS void
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	IF refuse_unknown_pool.pool IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'pool must not be null';
	END IF;
	RAISE EXCEPTION USING
		ERRCODE = 'undefined_object',
		MESSAGE = format('unknown code pool "%s"', refuse_unknown_pool.pool),
		HINT = 'crm.define_code_pool() makes one.';
END
$function$;
COMMENT ON FUNCTION crm.refuse_unknown_pool(text) IS
'the error for a pool that is not there, for the functions that need one: 42704, or 22004 for NULL';

CREATE FUNCTION crm.define_code_pool(pool text, pattern text DEFAULT NULL, valid_for interval DEFAULT NULL,
									 valid_until timestamptz DEFAULT NULL, low_at int DEFAULT 0,
									 personal boolean DEFAULT true) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	was record;
BEGIN
	IF define_code_pool.pool IS NULL OR define_code_pool.personal IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'pool, and whether it is personal, must not be null';
	END IF;
	IF octet_length(define_code_pool.pool) NOT BETWEEN 1 AND 63 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'name of a code pool must have 1 to 63 bytes',
			DETAIL = format('This one has %s.', octet_length(define_code_pool.pool));
	END IF;
	IF define_code_pool.pattern ~ '[[:space:][:cntrl:]]' OR length(define_code_pool.pattern) > 64 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('invalid pattern "%s"', define_code_pool.pattern),
			DETAIL = 'A code has 1 to 64 characters, and no blanks.';
	END IF;
	IF length(define_code_pool.pattern) - length(replace(define_code_pool.pattern, '#', '')) < 4 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('pattern "%s" has too few places', define_code_pool.pattern),
			DETAIL = 'At least four # are needed, else somebody who tries finds codes of others.',
			HINT = 'For example SPRING-####-####.';
	END IF;
	-- As crm.set_retention(): whatever instant it is counted from
	IF define_code_pool.valid_for <= interval '0' OR define_code_pool.valid_for > interval '1000 years'
		OR timestamptz '2000-03-01Z' + define_code_pool.valid_for <= timestamptz '2000-03-01Z'
	THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('time for which codes are valid must be positive, and at most 1000 years: %s', define_code_pool.valid_for);
	END IF;
	IF NOT isfinite(define_code_pool.valid_until) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'instant at which codes expire must be finite',
			HINT = 'NULL means that they do not.';
	END IF;
	IF define_code_pool.low_at < 0 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('a stock cannot be low at %s codes', define_code_pool.low_at);
	END IF;

	INSERT INTO crm.code_pool AS p (pool, pattern, valid_for, valid_until, low_at, personal, created_at)
	VALUES (define_code_pool.pool, define_code_pool.pattern, define_code_pool.valid_for, define_code_pool.valid_until,
			define_code_pool.low_at, define_code_pool.personal, crm.now())
	ON CONFLICT ON CONSTRAINT code_pool_pkey DO NOTHING;
	IF FOUND THEN
		RETURN;
	END IF;
	SELECT p.pattern INTO was FROM crm.code_pool AS p WHERE p.pool = define_code_pool.pool FOR NO KEY UPDATE;
	IF (was.pattern IS NULL) <> (define_code_pool.pattern IS NULL)
		AND EXISTS (SELECT FROM crm.promo_code AS c WHERE c.pool = define_code_pool.pool)
	THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('code pool "%s" has codes that were %s', define_code_pool.pool,
							 CASE WHEN was.pattern IS NULL THEN 'added' ELSE 'made by a pattern' END),
			DETAIL = 'A pool has codes of one kind.',
			HINT = 'Define another pool.';
	END IF;
	UPDATE crm.code_pool AS p
	   SET pattern = define_code_pool.pattern, valid_for = define_code_pool.valid_for, valid_until = define_code_pool.valid_until,
		   low_at = define_code_pool.low_at, personal = define_code_pool.personal
	 WHERE p.pool = define_code_pool.pool;
END
$function$;
COMMENT ON FUNCTION crm.define_code_pool(text, text, interval, timestamptz, int, boolean) IS
'makes a pool of promo codes, or changes it, which holds for codes that are taken from then on (personal: for all). With a pattern each code is made when it is taken, every # in it being a random letter or digit, of 32 that are not mistaken for another (no 0, O, 1, I); without, the codes are those of crm.add_codes(). valid_for says how long after that a code is valid (days and months in the zone of the shop), valid_until when all expire at the latest; NULL: no limit. low_at: crm.code_stock and crm.status call the stock low when no more are free; NULL: never. personal: only the person who has a code redeems it, when crm.redeem_code() is told who does. Errors: 22004 pool or personal is NULL, 22023 a name that is not of 1 to 63 bytes, a pattern with blanks, of more than 64 characters or of fewer than four #, an interval that is not positive or of more than 1000 years, an infinite instant, a negative low_at, 55000 added codes in a pool that gets a pattern, or the other way round';

CREATE FUNCTION crm.add_codes(pool text, codes text[]) RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	p record;
	wrong record;
	added int;
BEGIN
	IF add_codes.codes IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'codes must not be null';
	END IF;
	-- Who finds the stock empty does not say so while we add to it
	SELECT o.pattern, o.empty INTO p FROM crm.code_pool AS o WHERE o.pool = add_codes.pool FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		PERFORM crm.refuse_unknown_pool(add_codes.pool);
	END IF;
	IF p.pattern IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'wrong_object_type',
			MESSAGE = format('codes of pool "%s" are made by a pattern', add_codes.pool),
			HINT = 'Define a pool without pattern for codes that are given.';
	END IF;
	SELECT a.code, a.n INTO wrong
	  FROM unnest(add_codes.codes) WITH ORDINALITY AS a(code, n)
	 WHERE a.code IS NULL OR length(a.code) NOT BETWEEN 1 AND 64 OR a.code ~ '[[:space:][:cntrl:]]'
	 ORDER BY a.n
	 LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = CASE WHEN wrong.code IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
			MESSAGE = CASE WHEN wrong.code IS NULL THEN 'a code must not be null'
						   ELSE format('invalid code "%s"', left(wrong.code, 80)) END,
			DETAIL = format('It is code %s of those given. A code has 1 to 64 characters, and no blanks.', wrong.n);
	END IF;
	INSERT INTO crm.promo_code AS c (pool, code)
	SELECT add_codes.pool, a.code FROM unnest(add_codes.codes) WITH ORDINALITY AS a(code, n) ORDER BY a.n
	ON CONFLICT DO NOTHING;
	GET DIAGNOSTICS added = ROW_COUNT;
	IF added < cardinality(add_codes.codes) THEN
		SELECT a.code, c.pool INTO wrong
		  FROM unnest(add_codes.codes) WITH ORDINALITY AS a(code, n)
		  JOIN crm.promo_code AS c ON crm.code_key(c.code) = crm.code_key(a.code)
		 WHERE c.pool <> add_codes.pool
		 ORDER BY a.n
		 LIMIT 1;
		IF FOUND THEN
			RAISE EXCEPTION USING
				ERRCODE = 'unique_violation',
				MESSAGE = format('code "%s" is in pool "%s"', wrong.code, wrong.pool),
				DETAIL = 'A code is in one pool only. Upper and lower case are the same.';
		END IF;
	END IF;
	IF p.empty AND added > 0 THEN
		UPDATE crm.code_pool AS o SET empty = false WHERE o.pool = add_codes.pool;
	END IF;
	RETURN added;
END
$function$;
COMMENT ON FUNCTION crm.add_codes(text, text[]) IS
'adds codes to a pool without pattern, which are given out in this order. Upper and lower case are the same; what the pool has had already, and what comes twice, is passed over. Returns how many were new. Waits for another one that adds to the pool, and for a transaction that has just found it empty. Errors: 22004 NULL, also among the codes, 42704 unknown pool, 42809 a pool with a pattern, 22023 a code with blanks, or not of 1 to 64 characters, 23505 a code that is in another pool';

CREATE FUNCTION crm.drop_code_pool(pool text, force boolean DEFAULT false) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	valid bigint;
	redeemed boolean;
BEGIN
	IF NOT EXISTS (SELECT FROM crm.code_pool AS p WHERE p.pool = drop_code_pool.pool) THEN
		PERFORM crm.refuse_unknown_pool(drop_code_pool.pool);
	END IF;
	-- Not waited for: those who take a code after us would have to wait too
	IF NOT pg_try_advisory_xact_lock(hashtext('crm.code_pool'), hashtext(drop_code_pool.pool)) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'lock_not_available',
			MESSAGE = format('codes of pool "%s" are being taken', drop_code_pool.pool),
			HINT = 'Call it again when those transactions have ended.';
	END IF;
	IF NOT coalesce(drop_code_pool.force, false) THEN
		SELECT count(*) INTO valid
		  FROM crm.promo_code AS c
		 WHERE c.pool = drop_code_pool.pool AND c.taken_at IS NOT NULL AND c.redeemed_at IS NULL AND c.withdrawn_at IS NULL
		   AND (c.valid_until IS NULL OR c.valid_until > crm.now());
		IF valid > 0 THEN
			RAISE EXCEPTION USING
				ERRCODE = 'object_not_in_prerequisite_state',
				MESSAGE = format('code pool "%s" has codes that were given out and are valid', drop_code_pool.pool),
				DETAIL = format('Number of codes that could not be redeemed any more: %s.', valid),
				HINT = 'To drop them all the same, call it with force => true.';
		END IF;
	END IF;
	DELETE FROM crm.code_pool AS p WHERE p.pool = drop_code_pool.pool;
	DELETE FROM crm.promo_code AS c WHERE c.pool = drop_code_pool.pool;
	DELETE FROM crm.customer_code AS c WHERE c.pool = drop_code_pool.pool;
	DELETE FROM crm.code_redemption AS r WHERE r.pool = drop_code_pool.pool;
	IF FOUND THEN
		PERFORM crm.touch(NULL, 'redeem');
	END IF;
END
$function$;
COMMENT ON FUNCTION crm.drop_code_pool(text, boolean) IS
'drops a pool with all its codes, and all that is known of who had and redeemed them. Refuses as long as codes that were given out are valid, unless force is true; then they are unknown. Error 22004 pool is NULL, 42704 unknown pool, 55000 valid codes, 55P03 a transaction that has taken codes of it is still running: call it again';

------------------------------------------------------------------------------------------------------------------
-- Taking
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.generate_code(pattern text) RETURNS text
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	symbols CONSTANT text := '23456789ABCDEFGHJKLMNPQRSTUVWXYZ';
	-- Bytes 6 and 8 of such an uuid are not all random
	places CONSTANT int[] := '{0,1,2,3,4,5,7,9,10,11,12,13,14,15}';
	random bytea;
	used int := 0;
	result text := '';
	c text;
BEGIN
	FOREACH c IN ARRAY regexp_split_to_array(generate_code.pattern, '') LOOP
		IF c = '#' THEN
			IF used % cardinality(places) = 0 THEN
				random := uuid_send(gen_random_uuid());
			END IF;
			c := substr(symbols, (get_byte(random, places[used % cardinality(places) + 1]) & 31) + 1, 1);
			used := used + 1;
		END IF;
		result := result || c;
	END LOOP;
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.generate_code(text) IS
'a code by a pattern, every # of it a letter or digit from the server''s strong source of randomness (that of gen_random_uuid()), each of the 32 as likely as another. NULL gives NULL';

CREATE FUNCTION crm.take_code(pool text, customer_id bigint, occasion text, at timestamptz DEFAULT crm.now(),
							  OUT code text, OUT valid_until timestamptz) RETURNS record
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET enable_seqscan = off		-- what was planned when the table was small must do when it is large
	SET enable_bitmapscan = off
AS $function$
DECLARE
	zone CONSTANT text := crm.timezone();
	p record;
	ids bigint[];
	locked bigint[];
	last bigint;
	free record;
	mine tid;
	expires timestamptz;
BEGIN
	IF take_code.customer_id IS NULL OR take_code.occasion IS NULL OR take_code.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'customer, occasion and instant must not be null';
	END IF;
	IF octet_length(take_code.occasion) NOT BETWEEN 1 AND 255 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'an occasion must have 1 to 255 bytes',
			DETAIL = format('This one has %s.', octet_length(take_code.occasion));
	END IF;
	IF NOT isfinite(take_code.at) THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'instant at which a code is taken must be finite';
	END IF;
	-- Against crm.drop_code_pool(); those who take codes do not mind each other
	PERFORM pg_advisory_xact_lock_shared(hashtext('crm.code_pool'), hashtext(take_code.pool));
	SELECT o.pattern, o.valid_for, o.valid_until, o.empty INTO p FROM crm.code_pool AS o WHERE o.pool = take_code.pool;
	IF NOT FOUND THEN
		PERFORM crm.refuse_unknown_pool(take_code.pool);
	END IF;
	PERFORM crm.refuse_erased(take_code.customer_id);

	-- For one id the key of crm.customer_code decides who is first. A person with several has rows that can be locked, and
	-- row locks, unlike advisory ones, may be as many as one likes.
	LOOP
		ids := crm.ids_of(crm.resolve_customer(take_code.customer_id));
		EXIT WHEN cardinality(ids) = 1 OR ids = locked;
		PERFORM FROM crm.alias AS a WHERE a.customer_id = ids[1] ORDER BY a.alias FOR NO KEY UPDATE;
		locked := ids;
	END LOOP;

	FOR pass IN 1 .. 2 LOOP
		SELECT c.code, c.valid_until INTO take_code.code, take_code.valid_until
		  -- By the customer, not by the pool, which is what the planner would do while the table is small
		  FROM (SELECT o.* FROM crm.customer_code AS o
				 WHERE o.customer_id = ANY (ids) AND o.occasion = take_code.occasion OFFSET 0) AS h
		  JOIN crm.promo_code AS c ON c.pool = h.pool AND c.code_id = h.code_id
		 WHERE h.pool = take_code.pool
		 ORDER BY h.taken_at, h.code_id
		 LIMIT 1;
		EXIT WHEN FOUND OR pass = 2 OR p.empty OR p.valid_until <= take_code.at;

		expires := least((take_code.at AT TIME ZONE zone + p.valid_for) AT TIME ZONE zone, p.valid_until);
		IF p.pattern IS NOT NULL THEN
			FOR try IN 1 .. 8 LOOP
				INSERT INTO crm.promo_code AS c (pool, code, taken_at, valid_until)
				VALUES (take_code.pool, crm.generate_code(p.pattern), take_code.at, expires)
				ON CONFLICT DO NOTHING
				RETURNING c.code_id, c.code INTO free;
				EXIT WHEN FOUND;
			END LOOP;
			IF free.code_id IS NULL THEN
				RAISE EXCEPTION USING
					ERRCODE = 'program_limit_exceeded',
					MESSAGE = format('codes of pool "%s" are nearly used up', take_code.pool),
					DETAIL = format('Eight random codes by pattern "%s" were all there already.', p.pattern),
					HINT = 'Give the pool a pattern with more # by crm.define_code_pool().';
			END IF;
		ELSE
			SELECT h.code_id INTO last FROM crm.customer_code AS h WHERE h.pool = take_code.pool ORDER BY h.code_id DESC LIMIT 1;
			SELECT c.code_id, c.code INTO free
			  FROM crm.promo_code AS c
			 WHERE c.pool = take_code.pool AND c.taken_at IS NULL AND c.withdrawn_at IS NULL AND c.code_id > coalesce(last, 0)
			 ORDER BY c.code_id
			 LIMIT 1
			   FOR NO KEY UPDATE SKIP LOCKED;
			IF NOT FOUND AND last > 0 THEN
				SELECT c.code_id, c.code INTO free
				  FROM crm.promo_code AS c
				 WHERE c.pool = take_code.pool AND c.taken_at IS NULL AND c.withdrawn_at IS NULL AND c.code_id < last
				 ORDER BY c.code_id
				 LIMIT 1
				   FOR NO KEY UPDATE SKIP LOCKED;
			END IF;
		END IF;

		-- Also when there is no code: somebody else may be giving this customer the last one. Whoever is second waits here.
		INSERT INTO crm.customer_code AS h (customer_id, pool, occasion, code_id, code, taken_at)
		VALUES (take_code.customer_id, take_code.pool, take_code.occasion, coalesce(free.code_id, 0), coalesce(free.code, ''), take_code.at)
		ON CONFLICT ON CONSTRAINT customer_code_pkey DO NOTHING
		RETURNING h.ctid INTO mine;
		IF mine IS NULL THEN
			-- A code from the stock is just not taken
			IF p.pattern IS NOT NULL THEN
				DELETE FROM crm.promo_code AS c WHERE c.pool = take_code.pool AND c.code_id = free.code_id;
			END IF;
			CONTINUE;
		END IF;
		IF free.code_id IS NOT NULL THEN
			IF p.pattern IS NULL THEN
				UPDATE crm.promo_code AS c SET taken_at = take_code.at, valid_until = expires
				 WHERE c.pool = take_code.pool AND c.code_id = free.code_id;
			END IF;
			code := free.code;
			valid_until := expires;
			EXIT;
		END IF;
		DELETE FROM crm.customer_code AS h WHERE h.ctid = mine;
		-- Empty for good: what others are taking just now still looks free to us. Only with snapshots that are new.
		IF current_setting('transaction_isolation') = 'read committed'
			AND NOT EXISTS (SELECT FROM crm.promo_code AS c
							 WHERE c.pool = take_code.pool AND c.taken_at IS NULL AND c.withdrawn_at IS NULL)
		THEN
			SELECT o.pool INTO free FROM crm.code_pool AS o WHERE o.pool = take_code.pool FOR NO KEY UPDATE SKIP LOCKED;
			IF FOUND THEN
				UPDATE crm.code_pool AS o SET empty = true
				 WHERE o.pool = take_code.pool AND NOT o.empty AND o.pattern IS NULL
				   AND NOT EXISTS (SELECT FROM crm.promo_code AS c
									WHERE c.pool = take_code.pool AND c.taken_at IS NULL AND c.withdrawn_at IS NULL);
			END IF;
		END IF;
		EXIT;
	END LOOP;
END
$function$;
COMMENT ON FUNCTION crm.take_code(text, bigint, text, timestamptz) IS
'gives a customer a code of a pool for an occasion, and tells until when it is valid (NULL: for ever). A person has one code of a pool for an occasion: asked again, by whichever of his ids, also by two transactions at once, it is the same code, even if it was redeemed or withdrawn or has expired since; the second one waits until the first has ended. NULL when none is free, or the pool''s own valid_until has come. A rollback gives the code back. Customers who take codes at once do not wait for each other, but a merge of one with several ids waits for the transaction. Errors: 22004 NULL, 22023 an occasion that is not of 1 to 255 bytes or an infinite instant, 42704 unknown pool, 55000 the customer was erased, 54000 eight random codes by the pool''s pattern were all there already, as happens when more than about half of its possible codes are; in a repeatable read or serializable transaction 40001 when somebody else has taken codes of the pool since its snapshot';

------------------------------------------------------------------------------------------------------------------
-- Redeeming
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.code_is_valid(code text, at timestamptz DEFAULT crm.now()) RETURNS boolean
	LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN code_is_valid.code IS NOT NULL
			THEN EXISTS (SELECT
						   FROM crm.promo_code AS c
						  WHERE crm.code_key(c.code) = crm.code_key(code_is_valid.code)
							AND c.taken_at IS NOT NULL AND c.redeemed_at IS NULL AND c.withdrawn_at IS NULL
							AND (c.valid_until IS NULL OR coalesce(code_is_valid.at, crm.now()) < c.valid_until)) END;
COMMENT ON FUNCTION crm.code_is_valid(text, timestamptz) IS
'whether a code can be redeemed at an instant (NULL: now): it was given out, and not redeemed or withdrawn, and has not expired. Upper and lower case are the same, blanks around it do not count. Whose it is, is not asked. False for an unknown code, NULL for NULL';

CREATE FUNCTION crm.redeem_code(code text, customer_id bigint DEFAULT NULL, reference text DEFAULT NULL,
								at timestamptz DEFAULT crm.now()) RETURNS text
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	instant CONSTANT timestamptz := CASE WHEN isfinite(redeem_code.at) THEN redeem_code.at ELSE crm.now() END;
	c record;
	holder record;
	who bigint;
BEGIN
	SELECT o.* INTO c FROM crm.promo_code AS o WHERE crm.code_key(o.code) = crm.code_key(redeem_code.code);
	-- First as it is seen: who cannot redeem it anyway waits for nobody
	FOR pass IN 1 .. 2 LOOP
		IF pass = 2 THEN
			SELECT o.* INTO c FROM crm.promo_code AS o WHERE o.pool = c.pool AND o.code_id = c.code_id FOR NO KEY UPDATE;
		END IF;
		IF c.code_id IS NULL THEN
			RETURN 'unknown';
		ELSIF c.redeemed_at IS NOT NULL THEN
			RETURN CASE WHEN c.reference = redeem_code.reference THEN 'redeemed' ELSE 'already redeemed' END;
		ELSIF c.withdrawn_at IS NOT NULL THEN
			RETURN 'withdrawn';
		ELSIF c.taken_at IS NULL THEN
			RETURN 'not given out';
		ELSIF c.valid_until <= instant THEN
			RETURN 'expired';
		END IF;
		SELECT h.customer_id, h.occasion INTO holder
		  FROM crm.customer_code AS h
		 WHERE h.pool = c.pool AND h.code_id = c.code_id;
		IF crm.resolve_customer(holder.customer_id) <> crm.resolve_customer(redeem_code.customer_id)
			AND EXISTS (SELECT FROM crm.code_pool AS p WHERE p.pool = c.pool AND p.personal)
		THEN
			RETURN 'another customer';
		END IF;
	END LOOP;

	UPDATE crm.promo_code AS o SET redeemed_at = instant, reference = redeem_code.reference
	 WHERE o.pool = c.pool AND o.code_id = c.code_id;
	who := coalesce(redeem_code.customer_id, holder.customer_id);
	IF who IS NOT NULL AND NOT EXISTS (SELECT FROM crm.erased_customer AS e WHERE e.customer_id = who) THEN
		INSERT INTO crm.code_redemption AS r (customer_id, code_id, at, pool, occasion, reference)
		VALUES (who, c.code_id, instant, c.pool, holder.occasion, redeem_code.reference)
		ON CONFLICT ON CONSTRAINT code_redemption_pkey DO NOTHING;
		PERFORM crm.touch(ARRAY[who], 'redeem');
	END IF;
	RETURN 'redeemed';
END
$function$;
COMMENT ON FUNCTION crm.redeem_code(text, bigint, text, timestamptz) IS
'redeems a code, in the transaction of the order, whose number is the reference; customer_id is who orders, if that is known. Never an error for a reason of marketing; returns redeemed, or why not: unknown, not given out, withdrawn, expired, already redeemed (for the same reference again: redeemed), another customer (a code of a personal pool that a person who is not customer_id has, by whichever of their ids). Upper and lower case are the same, blanks around the code do not count; at that is NULL or infinite is now. Of two orders that redeem a code at once one wins: the other waits until that transaction has ended, so call it shortly before the commit, and several codes in the order of their letters. In a repeatable read or serializable transaction the other one fails with 40001, as any that writes what another has written';

CREATE FUNCTION crm.release_code(reference text) RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	released bigint[];
	customers bigint[];
BEGIN
	SELECT array_agg(l.code_id) INTO released
	  FROM (SELECT c.code_id FROM crm.promo_code AS c WHERE c.reference = release_code.reference
			 ORDER BY c.code_id FOR NO KEY UPDATE) AS l;
	IF released IS NULL THEN
		RETURN 0;
	END IF;
	UPDATE crm.promo_code AS c SET redeemed_at = NULL, reference = NULL
	 WHERE c.reference = release_code.reference AND c.code_id = ANY (released);
	WITH gone AS (
		DELETE FROM crm.code_redemption AS r WHERE r.code_id = ANY (released) RETURNING r.customer_id
	)
	SELECT array_agg(g.customer_id) INTO customers FROM gone AS g;
	IF customers IS NOT NULL THEN
		PERFORM crm.touch(customers, 'redeem');
	END IF;
	RETURN cardinality(released);
END
$function$;
COMMENT ON FUNCTION crm.release_code(text) IS
'gives back the codes that were redeemed for an order, in the transaction that cancels it: those that have not expired and were not withdrawn can be redeemed again. Returns how many, 0 when there are none, as for NULL. Never an error for a reason of marketing; waits for another transaction that has one of the codes in its hands';

CREATE FUNCTION crm.withdraw_code(code text) RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	UPDATE crm.promo_code AS c SET withdrawn_at = crm.now()
	 WHERE crm.code_key(c.code) = crm.code_key(withdraw_code.code) AND c.withdrawn_at IS NULL;
	RETURN FOUND;
END
$function$;
COMMENT ON FUNCTION crm.withdraw_code(text) IS
'makes a code invalid for good, whether it was given out or is free; what was redeemed stays so, but is not valid if it is released. False when it was withdrawn already, and for an unknown code, as for NULL';

CREATE VIEW crm_feed.redeem AS
	SELECT r.customer_id, r.at, r.pool, r.occasion, r.reference FROM crm.code_redemption AS r;
COMMENT ON VIEW crm_feed.redeem IS 'codes that were redeemed as events; see crm.code_redemption';
COMMENT ON COLUMN crm_feed.redeem.customer_id IS 'customer';
COMMENT ON COLUMN crm_feed.redeem.at IS 'when';
COMMENT ON COLUMN crm_feed.redeem.pool IS 'pool of the code';
COMMENT ON COLUMN crm_feed.redeem.occasion IS 'for what the code was given';
COMMENT ON COLUMN crm_feed.redeem.reference IS 'for what it was redeemed, as a rule the number of an order';

INSERT INTO crm.source (kind, indexed, own, reader) VALUES ('redeem', true, true, NULL);

------------------------------------------------------------------------------------------------------------------
-- What there is, and what may go
------------------------------------------------------------------------------------------------------------------

CREATE VIEW crm.code_stock AS
	SELECT p.pool,
		   CASE WHEN p.pattern IS NULL THEN coalesce(n.free, 0) END AS free,
		   coalesce(n.taken, 0) AS taken,
		   coalesce(n.redeemed, 0) AS redeemed,
		   coalesce(n.expired, 0) AS expired,
		   p.pattern IS NULL AND coalesce(coalesce(n.free, 0) <= p.low_at, false) AS low
	  FROM crm.code_pool AS p
	  LEFT JOIN (SELECT c.pool,
						pg_catalog.count(*) FILTER (WHERE c.taken_at IS NULL AND c.withdrawn_at IS NULL) AS free,
						pg_catalog.count(c.taken_at) AS taken,
						pg_catalog.count(c.redeemed_at) AS redeemed,
						pg_catalog.count(*) FILTER (WHERE c.redeemed_at IS NULL AND c.withdrawn_at IS NULL
													  AND c.valid_until <= crm.now()) AS expired
				   FROM crm.promo_code AS c
				  GROUP BY c.pool) AS n ON n.pool = p.pool;
COMMENT ON VIEW crm.code_stock IS 'how many codes of each pool there are; reads all codes. crm.status has the pools that are low, by index';
COMMENT ON COLUMN crm.code_stock.pool IS 'the pool';
COMMENT ON COLUMN crm.code_stock.free IS 'codes that can be taken; NULL: they are made by a pattern';
COMMENT ON COLUMN crm.code_stock.taken IS 'codes that were given out, whatever became of them';
COMMENT ON COLUMN crm.code_stock.redeemed IS 'of these, those that were redeemed';
COMMENT ON COLUMN crm.code_stock.expired IS 'of these, those that have expired before they were redeemed or withdrawn';
COMMENT ON COLUMN crm.code_stock.low IS 'no more codes are free than the pool''s low_at';

CREATE FUNCTION crm.drop_codes_before(before timestamptz) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	gone bigint[];
BEGIN
	WITH done AS (
		DELETE FROM crm.promo_code AS c
		 WHERE coalesce(c.redeemed_at, c.withdrawn_at, c.valid_until) < drop_codes_before.before
		RETURNING c.code_id
	)
	SELECT coalesce(array_agg(d.code_id), '{}') INTO gone FROM done AS d;
	DELETE FROM crm.customer_code AS h WHERE h.code_id = ANY (gone);
	DELETE FROM crm.code_redemption AS r WHERE r.code_id = ANY (gone);
	IF FOUND THEN
		PERFORM crm.touch(NULL, 'redeem');
	END IF;
	RETURN cardinality(gone);
END
$function$;
COMMENT ON FUNCTION crm.drop_codes_before(timestamptz) IS
'deletes the codes that were redeemed before an instant, or withdrawn, or have expired, and who had and redeemed them. A code that is gone may be added, or made by a pattern, again. Returns how many codes; none for NULL. For crm.apply_retention()';
