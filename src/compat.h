/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  What differs between PostgreSQL 15 and 19.
 *
 * This is the only place that may look at PG_VERSION_NUM.  It offers one
 * spelling for all majors; include it after postgres.h and instead of the
 * headers that it includes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CRM_COMPAT_H
#define CRM_COMPAT_H

#include "fmgr.h"
#include "nodes/nodes.h"
#include "utils/acl.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/rel.h"

#if PG_VERSION_NUM < 150000
#error "crm_marketing needs PostgreSQL 15 or later"
#endif

#if PG_VERSION_NUM >= 160000
#include "catalog/pg_class.h"
#include "nodes/miscnodes.h"
#include "varatt.h"
#endif

/* before the names of ours that are macros (predicate/ast.h) */
#if PG_VERSION_NUM >= 180000
#include "access/cmptype.h"
#endif

/* Before the declaration of a function that does not return */
#if PG_VERSION_NUM < 180000
#define pg_noreturn		pg_attribute_noreturn()
#endif

/*
 * Soft errors.  An input function takes its context with
 * crm_escontext(fcinfo), passes it down, and reports with
 *
 *		crm_ereturn(escontext, (Datum) 0,
 *					(errcode(...), errmsg(...)));
 *
 * A caller that got its value back asks crm_soft_error_occurred(escontext).
 * Before PostgreSQL 16 the context is NULL and every error is thrown.
 */
#if PG_VERSION_NUM >= 160000
#define crm_escontext(fcinfo)		((fcinfo)->context)
#define crm_ereturn(escontext, dummy, ...) \
	ereturn(escontext, dummy, __VA_ARGS__)
#define crm_errsave(escontext, ...) \
	errsave(escontext, __VA_ARGS__)
#define crm_soft_error_occurred(escontext) \
	SOFT_ERROR_OCCURRED(escontext)
#else
#define crm_escontext(fcinfo)		((void) (fcinfo), (Node *) NULL)
#define crm_ereturn(escontext, dummy, ...) \
	do { \
		(void) (escontext); \
		ereport(ERROR, __VA_ARGS__); \
		return dummy; \
	} while (0)
#define crm_errsave(escontext, ...) \
	do { \
		(void) (escontext); \
		ereport(ERROR, __VA_ARGS__); \
	} while (0)
#define crm_soft_error_occurred(escontext)	((void) (escontext), false)
#endif

/* Reads jsonb; NULL after a soft error */
static inline Jsonb *
crm_jsonb_from_cstring(char *string, Node *escontext)
{
#if PG_VERSION_NUM >= 160000
	Datum		result;

	if (!DirectInputFunctionCallSafe(jsonb_in, string, InvalidOid, -1, escontext, &result))
		return NULL;
	return DatumGetJsonbP(result);
#else
	(void) escontext;
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(string)));
#endif
}

/* Memory that a GUC check hook hands over to the GUC machinery; may be NULL */
#if PG_VERSION_NUM >= 160000
#define crm_guc_malloc(size)		guc_malloc(LOG, size)
#define crm_guc_strdup(s)			guc_strdup(LOG, s)
#define crm_guc_free(p)				guc_free(p)
#else
#define crm_guc_malloc(size)		malloc(size)
#define crm_guc_strdup(s)			strdup(s)
#define crm_guc_free(p)				free(p)
#endif

/* Is it an abbreviation of a time zone, in small letters? */
static inline bool
crm_is_timezone_abbreviation(char *name)
{
	int			type;
	int			offset;
	pg_tz	   *zone;
#if PG_VERSION_NUM >= 160000
	DateTimeErrorExtra extra;

	if (DecodeTimezoneAbbrev(0, name, &type, &offset, &zone, &extra) < 0)
		return false;
#else
	type = DecodeTimezoneAbbrev(0, name, &offset, &zone);
#endif
	return type == TZ || type == DTZ || type == DYNTZ;
}

/* DecodeDateTime that tells only whether it succeeded */
static inline bool
crm_decode_datetime(char **field, int *ftype, int nf, int *dtype,
					struct pg_tm *tm, fsec_t *fsec, int *tz)
{
#if PG_VERSION_NUM >= 160000
	DateTimeErrorExtra extra;

	return DecodeDateTime(field, ftype, nf, dtype, tm, fsec, tz, &extra) == 0;
#else
	return DecodeDateTime(field, ftype, nf, dtype, tm, fsec, tz) == 0;
#endif
}

/* Does the role own the table or view? */
static inline bool
crm_owns_relation(Oid relid, Oid roleid)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(RelationRelationId, relid, roleid);
#else
	return pg_class_ownercheck(relid, roleid);
#endif
}

/* A range that is known to be in order */
#if PG_VERSION_NUM >= 160000
#define crm_range_serialize(type, lower, upper)	range_serialize(type, lower, upper, false, NULL)
#else
#define crm_range_serialize(type, lower, upper)	range_serialize(type, lower, upper, false)
#endif

/* A worker that ends when its database is dropped, renamed or copied */
#if PG_VERSION_NUM >= 190000
#define CRM_BGWORKER_INTERRUPTIBLE	BGWORKER_INTERRUPTIBLE
#else
#define CRM_BGWORKER_INTERRUPTIBLE	0
#endif

/*
 * Arithmetic of numeric that sets *failed instead of throwing an error (its
 * result is then NULL or meaningless).
 */
#if PG_VERSION_NUM >= 190000
static inline Numeric
crm_numeric_result(Numeric result, ErrorSaveContext *context, bool *failed)
{
	*failed = context->error_occurred;
	return result;
}
#define CRM_NUMERIC_SAFE(name) \
static inline Numeric \
crm_numeric_##name(Numeric a, Numeric b, bool *failed) \
{ \
	ErrorSaveContext context = {T_ErrorSaveContext}; \
\
	return crm_numeric_result(numeric_##name##_safe(a, b, (Node *) &context), \
							  &context, failed); \
}
CRM_NUMERIC_SAFE(add)
CRM_NUMERIC_SAFE(sub)
CRM_NUMERIC_SAFE(mul)
CRM_NUMERIC_SAFE(div)
#else
#define crm_numeric_add(a, b, failed)	numeric_add_opt_error(a, b, failed)
#define crm_numeric_sub(a, b, failed)	numeric_sub_opt_error(a, b, failed)
#define crm_numeric_mul(a, b, failed)	numeric_mul_opt_error(a, b, failed)
#define crm_numeric_div(a, b, failed)	numeric_div_opt_error(a, b, failed)
#endif

#endif							/* CRM_COMPAT_H */
