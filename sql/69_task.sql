-- Tasks for people: a call to make, a letter to write by hand. Decided again when somebody takes one up.

CREATE SEQUENCE crm.task_id_seq;
COMMENT ON SEQUENCE crm.task_id_seq IS 'ids of tasks';

CREATE TABLE crm.task (
	customer_id	bigint NOT NULL,
	task_id		bigint NOT NULL DEFAULT pg_catalog.nextval('crm.task_id_seq'),
	campaign	text,
	step		text,
	run_id		bigint,
	guard_id	int,
	entry		timestamptz,
	channel		text NOT NULL,
	purpose		text NOT NULL,
	transactional boolean NOT NULL,
	assignee	text NOT NULL,
	script		text NOT NULL,
	due_at		timestamptz NOT NULL,
	deadline	timestamptz,
	state		text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'taken', 'done', 'cancelled')),
	reason		text,
	result		text,
	note		jsonb,
	taken_at	timestamptz,
	finished_at	timestamptz,
	PRIMARY KEY (customer_id, task_id)
);
CREATE INDEX task_assignee_idx ON crm.task (assignee, due_at) WHERE state IN ('open', 'taken');
CREATE INDEX task_task_id_idx ON crm.task (task_id);
CREATE UNIQUE INDEX task_run_id_idx ON crm.task (customer_id, run_id, step) WHERE run_id IS NOT NULL;
COMMENT ON TABLE crm.task IS 'tasks for people, and what came of them';
COMMENT ON COLUMN crm.task.customer_id IS 'about whom; of a merged customer, the id by which it came';
COMMENT ON COLUMN crm.task.task_id IS 'number';
COMMENT ON COLUMN crm.task.campaign IS 'name of the campaign';
COMMENT ON COLUMN crm.task.step IS 'and of its step';
COMMENT ON COLUMN crm.task.run_id IS 'run';
COMMENT ON COLUMN crm.task.guard_id IS 'under which conditions it is still to be done, crm.guard';
COMMENT ON COLUMN crm.task.entry IS 'since when the run is';
COMMENT ON COLUMN crm.task.channel IS 'how the customer is reached: his address there, and his consent to it, are looked at';
COMMENT ON COLUMN crm.task.purpose IS 'for which purpose';
COMMENT ON COLUMN crm.task.transactional IS 'needs no consent: it is about something the customer has ordered';
COMMENT ON COLUMN crm.task.assignee IS 'whose task';
COMMENT ON COLUMN crm.task.script IS 'what to say, with placeholders as in templates';
COMMENT ON COLUMN crm.task.due_at IS 'from when';
COMMENT ON COLUMN crm.task.deadline IS 'until when';
COMMENT ON COLUMN crm.task.state IS 'open, taken, done, cancelled';
COMMENT ON COLUMN crm.task.reason IS 'why it was cancelled';
COMMENT ON COLUMN crm.task.result IS 'what came of it: a property of the event "task", so campaigns can wait for it';
COMMENT ON COLUMN crm.task.note IS 'what else there is to say';
COMMENT ON COLUMN crm.task.taken_at IS 'when somebody took it up last';
COMMENT ON COLUMN crm.task.finished_at IS 'when it was done or cancelled';
COMMENT ON INDEX crm.task_assignee_idx IS 'what somebody has to do';
COMMENT ON INDEX crm.task_task_id_idx IS 'a task by its number';
COMMENT ON INDEX crm.task_run_id_idx IS 'no step gives a task twice';

SELECT pg_catalog.pg_extension_config_dump('crm.task_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('crm.task', '');

CREATE VIEW crm_feed.task AS
	SELECT t.customer_id, t.finished_at AS at, t.result, t.campaign, t.step, t.assignee
	  FROM crm.task AS t
	 WHERE t.state = 'done';
COMMENT ON VIEW crm_feed.task IS 'tasks that were done as events; see crm.task';
COMMENT ON COLUMN crm_feed.task.customer_id IS 'customer';
COMMENT ON COLUMN crm_feed.task.at IS 'when it was done';
COMMENT ON COLUMN crm_feed.task.result IS 'what came of it';
COMMENT ON COLUMN crm_feed.task.campaign IS 'of which campaign';
COMMENT ON COLUMN crm_feed.task.step IS 'and of which step';
COMMENT ON COLUMN crm_feed.task.assignee IS 'whose task it was';
INSERT INTO crm.source (kind, indexed, own) VALUES ('task', true, true);

CREATE FUNCTION crm.create_task(customer_id bigint, part jsonb, definition jsonb, guard int, run_id bigint, entry timestamptz,
								step text, at timestamptz) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	id CONSTANT bigint := nextval('crm.task_id_seq');
BEGIN
	INSERT INTO crm.task AS t (customer_id, task_id, campaign, step, run_id, guard_id, entry, channel, purpose, transactional, assignee,
							   script, due_at, deadline)
	VALUES (create_task.customer_id, id, definition ->> 'campaign', create_task.step, create_task.run_id, create_task.guard,
			create_task.entry, part ->> 'channel', coalesce(part ->> 'purpose', definition ->> 'purpose'),
			coalesce((part -> 'transactional')::boolean, false) OR (definition -> 'transactional')::boolean,
			part -> 'assignees' ->> (id % jsonb_array_length(part -> 'assignees'))::int, part ->> 'script', create_task.at,
			create_task.at + (part ->> 'deadline')::interval)
	ON CONFLICT DO NOTHING;
END
$function$;
COMMENT ON FUNCTION crm.create_task(bigint, jsonb, jsonb, int, bigint, timestamptz, text, timestamptz) IS
'makes the task that a step of a run says; its assignees get them by turns';

CREATE FUNCTION crm.cancel_tasks(customer_id bigint, run_id bigint, reason text) RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	result int;
BEGIN
	UPDATE crm.task AS t SET state = 'cancelled', reason = cancel_tasks.reason, finished_at = crm.now()
	 WHERE t.customer_id = cancel_tasks.customer_id AND t.run_id = cancel_tasks.run_id AND t.state = 'open';
	GET DIAGNOSTICS result = ROW_COUNT;
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.cancel_tasks(bigint, bigint, text) IS 'cancels the tasks of a run that nobody has taken up; returns how many';

CREATE FUNCTION crm.next_task(assignee text, at timestamptz DEFAULT crm.now(), OUT task_id bigint, OUT customer_id bigint, OUT address text,
							  OUT script text, OUT campaign text, OUT step text, OUT deadline timestamptz)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	task crm.task;
	guard crm.guard;
	profile crm.profile;
	refused text;
	root bigint;
BEGIN
	LOOP
		SELECT t.* INTO task
		  FROM crm.task AS t
		 WHERE t.assignee = next_task.assignee AND t.due_at <= next_task.at
		   AND (t.state = 'open' OR t.state = 'taken' AND t.taken_at < next_task.at - interval '1 hour')
		 ORDER BY t.due_at, t.task_id LIMIT 1
		   FOR UPDATE SKIP LOCKED;
		EXIT WHEN NOT FOUND;
		root := crm.resolve_customer(task.customer_id);
		profile := crm.profile_of(root);
		SELECT g.* INTO guard FROM crm.guard AS g WHERE g.guard_id = task.guard_id;
		refused := NULL;
		SELECT c.address, CASE WHEN NOT task.transactional OR c.refusal <> 'no consent' THEN c.refusal END INTO address, refused
		  FROM crm.contact_for(root, task.channel, task.purpose) AS c;
		refused := CASE
			WHEN profile IS NULL THEN 'gone'
			WHEN guard.state = 'stopped' THEN 'stopped'
			WHEN task.deadline < next_task.at THEN 'late'
			WHEN (SELECT f.truth FROM crm.first_true(profile, guard.goal, next_task.at, next_task.at, task.entry,
													 crm.static_segments(crm.ids_of(root))) AS f) THEN 'goal'
			ELSE refused END;
		IF refused IS NULL THEN
			UPDATE crm.task AS t SET state = 'taken', taken_at = next_task.at
			 WHERE t.customer_id = task.customer_id AND t.task_id = task.task_id;
			task_id := task.task_id;
			customer_id := root;
			script := crm.render_text(task.script, jsonb_build_object('customer',
				(SELECT jsonb_object_agg(a.name, a.value) FROM crm.attributes_of(profile) AS a)));
			campaign := task.campaign;
			step := task.step;
			deadline := task.deadline;
			RETURN;
		END IF;
		UPDATE crm.task AS t SET state = 'cancelled', reason = refused, finished_at = next_task.at
		 WHERE t.customer_id = task.customer_id AND t.task_id = task.task_id;
	END LOOP;
	address := NULL;
END
$function$;
COMMENT ON FUNCTION crm.next_task(text, timestamptz) IS
'takes up the task of somebody that is due first, with the customer, his address on the task''s channel, and the script for him; one that is not to be done any more (the goal is reached, no address, no consent, suppressed as by do-not-call, past its deadline, campaign stopped) is cancelled with the reason, and the next is looked at. Who has not finished one an hour later may get it again. NULLs when there is none';

CREATE FUNCTION crm.finish_task(task_id bigint, result text, note jsonb DEFAULT NULL, at timestamptz DEFAULT crm.now()) RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	customer bigint;
BEGIN
	IF finish_task.result IS NULL OR finish_task.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'result and instant of a task must not be null';
	END IF;
	UPDATE crm.task AS t SET state = 'done', result = finish_task.result, note = finish_task.note, finished_at = finish_task.at
	 WHERE t.task_id = finish_task.task_id AND t.state IN ('open', 'taken')
	RETURNING t.customer_id INTO customer;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	PERFORM crm.touch(ARRAY[customer], 'task');
	RETURN true;
END
$function$;
COMMENT ON FUNCTION crm.finish_task(bigint, text, jsonb, timestamptz) IS
'a task is done, with a result in the caller''s words, which becomes an event of kind task; false if it is none, or is over already. Error 22004 NULL result or instant';

CREATE FUNCTION crm.drop_tasks_before(before timestamptz) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	result bigint;
BEGIN
	DELETE FROM crm.task AS t WHERE t.state IN ('done', 'cancelled') AND t.finished_at < drop_tasks_before.before;
	GET DIAGNOSTICS result = ROW_COUNT;
	IF result > 0 THEN
		PERFORM crm.touch(NULL, 'task');
	END IF;
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.drop_tasks_before(timestamptz) IS 'deletes tasks that were over before an instant; returns how many. For crm.apply_retention()';
