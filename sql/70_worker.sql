-- The background worker: how it is. What it does is crm.tick().

CREATE FUNCTION crm.worker_status(OUT preloaded boolean, OUT launcher_pid int, OUT worker_pid int, OUT state text,
								  OUT last_tick timestamptz)
	RETURNS record
	AS 'MODULE_PATHNAME', 'crm_worker_status'
	LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION crm.worker_status() IS
'how the background worker of this database is: whether the library is preloaded, the processes of the launcher and of the worker (NULL while there is none), a word for its state (not preloaded, switched off, unknown database, not live, running, waiting for changes and deadlines), and when it ticked last';
