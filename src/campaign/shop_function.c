/*
 * shop_function.c
 *		Calling a function of the shop's from a campaign: crm.call_function().
 *
 * It runs as its owner in a security-restricted operation, as a feed runs as its definer: who has put it into a campaign,
 * and the worker that gets there, lend it nothing.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(crm_campaign_call_function);

/* crm.call_function(function oid, customer_id bigint, run jsonb) */
Datum
crm_campaign_call_function(PG_FUNCTION_ARGS)
{
	Oid			function = PG_GETARG_OID(0);
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc proc;
	Oid			owner;
	Oid			userid;
	int			context;
	int			nestlevel;
	FmgrInfo	flinfo;
	LOCAL_FCINFO(call, 2);

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function %u does not exist", function)));
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	owner = proc->proowner;
	if (proc->prokind != PROKIND_FUNCTION || proc->proretset || proc->pronargs != 2 ||
		proc->proargtypes.values[0] != INT8OID || proc->proargtypes.values[1] != JSONBOID)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("function \"%s\" cannot be called by a campaign", NameStr(proc->proname)),
				 errdetail("It takes a customer, bigint, and what is known of the run, jsonb, and gives at most one value.")));
	ReleaseSysCache(tuple);

	GetUserIdAndSecContext(&userid, &context);
	SetUserIdAndSecContext(owner, context | SECURITY_RESTRICTED_OPERATION);
	nestlevel = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, public, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true,
							 0, false);
	fmgr_info(function, &flinfo);
	InitFunctionCallInfoData(*call, &flinfo, 2, InvalidOid, NULL, NULL);
	call->args[0].value = PG_GETARG_DATUM(1);
	call->args[0].isnull = false;
	call->args[1].value = PG_GETARG_DATUM(2);
	call->args[1].isnull = false;
	(void) FunctionCallInvoke(call);
	AtEOXact_GUC(false, nestlevel);
	SetUserIdAndSecContext(userid, context);
	PG_RETURN_VOID();
}
