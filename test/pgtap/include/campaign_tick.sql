-- A worker for campaigns at a simulated instant: ticks, and then what follows them, with a commit after each, until there is nothing left.
CREATE PROCEDURE tick_at(instant timestamptz) LANGUAGE plpgsql AS $p$
DECLARE
	t record;
	a record;
BEGIN
	PERFORM set_config('crm_marketing.now', instant::text, false);
	COMMIT;
	LOOP
		t := crm.tick();
		COMMIT;
		EXIT WHEN NOT t.more AND t.routed = 0;
	END LOOP;
	LOOP
		a := crm.advance_campaigns();
		COMMIT;
		EXIT WHEN NOT a.more;
	END LOOP;
END
$p$;
