-- The background workers, which tick by themselves where the library is preloaded. They keep nothing in tables.

CREATE FUNCTION crm.worker_status(OUT preloaded boolean, OUT launcher_pid int, OUT worker_pid int, OUT state text,
								  OUT last_tick timestamptz)
	RETURNS record
	AS 'MODULE_PATHNAME', 'crm_worker_status'
	LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION crm.worker_status() IS
'how the background workers are doing for this database: whether crm_marketing is in shared_preload_libraries (all else is NULL when it is not), the process of the launcher and that of the worker here, each NULL while there is none, when the worker''s last tick that succeeded has ended, NULL for never, and its state: ticking, waiting (for the next tick), resting (has ended, and is started again by a commit or a deadline), starting, gave way (to somebody who drops, renames or copies the database), failed (has ended by an error, and is started again), not live (no crm.tick() was ever called here: the first one is a person''s to call), not installed (no extension was here when the worker looked last), not listed (by crm_marketing.databases, or not yet), not visited (yet), off (by crm_marketing.worker)';
