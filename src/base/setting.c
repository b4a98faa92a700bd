/*-------------------------------------------------------------------------
 *
 * setting.c
 *	  The rows of crm.setting.
 *
 * What a shop has one of, and what answers must not change with from session
 * to session, is a row and not a GUC.  It is read by a plain scan of that
 * small table: no SPI, so that it works inside any function and parallel
 * worker, under any search_path, for a role that may not read the table.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "compat.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "base/setting.h"

/* Columns of crm.setting */
#define Anum_setting_name	1
#define Anum_setting_value	2

PG_FUNCTION_INFO_V1(crm_setting_country);

/*
 * No index: the table has a page.  NULL also where the table is not there
 * yet, in the middle of CREATE EXTENSION.
 */
char *
setting_read(const char *name)
{
	Oid			schema = get_namespace_oid("crm", true);
	Oid			relid = OidIsValid(schema) ? get_relname_relid("setting", schema) : InvalidOid;
	Relation	rel;
	Snapshot	snapshot;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *result = NULL;

	if (!OidIsValid(relid))
		return NULL;

	rel = table_open(relid, AccessShareLock);
	snapshot = RegisterSnapshot(ActiveSnapshotSet() ? GetActiveSnapshot() : GetTransactionSnapshot());
	ScanKeyInit(&key, Anum_setting_name, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(name));
	scan = systable_beginscan(rel, InvalidOid, false, snapshot, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, Anum_setting_value, RelationGetDescr(rel), &isnull);

		if (!isnull)
			result = TextDatumGetCString(value);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);

	return result;
}

Datum
crm_setting_country(PG_FUNCTION_ARGS)
{
	char	   *country = setting_read("country");

	if (country == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(country));
}
