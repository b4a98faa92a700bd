-- What the tests of scores share: aggregates by one process, by several and by partitions, and bytes that are no state.

CREATE SCHEMA common;

-- A query's rows, sorted, as one text; in a plan that is serial, or parallel with partial aggregates.
CREATE FUNCTION common.answer(query text, workers int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	PERFORM set_config('max_parallel_workers_per_gather', workers::text, true),
		set_config('min_parallel_table_scan_size', '0', true),
		set_config('parallel_setup_cost', '0', true),
		set_config('parallel_tuple_cost', '0', true),
		set_config('enable_partitionwise_aggregate', 'on', true);
	EXECUTE format('SELECT string_agg(r::text, E''\n'' ORDER BY r::text COLLATE "C") FROM (%s) AS r', query) INTO result;
	PERFORM set_config('max_parallel_workers_per_gather', '0', true);
	RETURN result;
END $$;

CREATE FUNCTION common.plan(query text, workers int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	result text := '';
BEGIN
	PERFORM set_config('max_parallel_workers_per_gather', workers::text, true),
		set_config('min_parallel_table_scan_size', '0', true),
		set_config('parallel_setup_cost', '0', true),
		set_config('parallel_tuple_cost', '0', true),
		set_config('enable_partitionwise_aggregate', 'on', true);
	FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || query LOOP
		result := result || line || E'\n';
	END LOOP;
	PERFORM set_config('max_parallel_workers_per_gather', '0', true);
	RETURN result;
END $$;

-- Some bytes changed, cut off or added.
CREATE FUNCTION common.damage(bytes bytea) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
	n int;
BEGIN
	FOR k IN 0 .. floor(random() * 3)::int LOOP
		n := length(bytes);
		EXIT WHEN n = 0;
		CASE floor(random() * 6)::int
			WHEN 0 THEN bytes := substr(bytes, 1, floor(random() * n)::int);
			WHEN 1 THEN bytes := bytes || set_byte('\x00'::bytea, 0, floor(random() * 256)::int);
			WHEN 2 THEN bytes := set_byte(bytes, floor(random() * n)::int, 255);
			WHEN 3 THEN bytes := set_byte(bytes, floor(random() * n)::int, 0);
			WHEN 4 THEN bytes := set_bit(bytes, floor(random() * n * 8)::int, floor(random() * 2)::int);
			ELSE bytes := set_byte(bytes, floor(random() * n)::int, floor(random() * 256)::int);
		END CASE;
	END LOOP;
	RETURN bytes;
END $$;

-- Reads damaged bytes of a state by its text form; what is accepted is used by the expression and must read back as
-- itself. Gives what else than a value or an error of class 22 or 54 came of it.
CREATE FUNCTION common.fuzz(type text, valid text[], use text, cases int) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	bytes text;
	again text;
	accepted int := 0;
BEGIN
	FOR i IN 1 .. cases LOOP
		bytes := common.damage(valid[1 + i % cardinality(valid)]::bytea)::text;
		BEGIN
			EXECUTE format('SELECT %L::%s::text', bytes, type) INTO again;
			EXECUTE format('SELECT %s FROM (SELECT %L::%s AS s) AS x', use, bytes, type);
			accepted := accepted + 1;
			EXECUTE format('SELECT %L::%s::text', again, type) INTO bytes;
			IF bytes <> again THEN
				RETURN NEXT format('%s reads back as %s', again, bytes);
			END IF;
		EXCEPTION WHEN OTHERS THEN
			IF SQLSTATE !~ '^(22|54)' THEN
				RETURN NEXT format('%s: %s %s', bytes, SQLSTATE, SQLERRM);
			END IF;
		END;
	END LOOP;
	IF accepted = 0 OR accepted = cases THEN
		RETURN NEXT format('%s of %s cases were accepted', accepted, cases);
	END IF;
END $$;

-- The same by the binary form: receive functions cannot be called from SQL but by COPY.
CREATE FUNCTION common.fuzz_binary(type text, valid text[], cases int) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	file text := format('crm_score_%s', (SELECT oid FROM pg_database WHERE datname = current_database()));
	bytes bytea;
	object oid;
	accepted int := 0;
BEGIN
	EXECUTE format('CREATE TEMP TABLE received (value %s) ON COMMIT DROP', type);
	FOR i IN 1 .. cases LOOP
		bytes := common.damage(valid[1 + i % cardinality(valid)]::bytea);
		object := lo_from_bytea(0, '\x5047434f50590aff0d0a00'::bytea || '\x0000000000000000'::bytea || '\x0001'::bytea ||
								int4send(length(bytes)) || bytes || '\xffff'::bytea);
		PERFORM lo_export(object, file), lo_unlink(object);
		BEGIN
			EXECUTE format('COPY received FROM %L (FORMAT binary)', file);
			accepted := accepted + 1;
		EXCEPTION WHEN OTHERS THEN
			IF SQLSTATE !~ '^(22|54)' THEN
				RETURN NEXT format('%s: %s %s', bytes, SQLSTATE, SQLERRM);
			END IF;
		END;
	END LOOP;
	IF accepted = 0 OR accepted = cases THEN
		RETURN NEXT format('%s of %s cases were accepted', accepted, cases);
	END IF;
	IF (SELECT count(*) FROM (SELECT value::text FROM received) AS r) <> accepted THEN
		RETURN NEXT 'a value that was received is lost';
	END IF;
	DROP TABLE received;
END $$;
