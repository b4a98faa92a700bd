/*
 * contain.c
 *		Doing something whose error is not to be the caller's.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/resowner.h"

#include "base/contain.h"

ErrorData *
contain(Contained what, void *argument)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		what(argument);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (error != NULL && (error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
						  ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION))
		ReThrowError(error);
	return error;
}

/* Some of many things, from "first" on. */
typedef struct Some
{
	ContainedOfMany what;
	void	   *argument;
	int			first;
	int			count;
} Some;

static void
do_some(void *argument)
{
	const Some *some = argument;

	some->what(some->argument, some->first, some->count);
}

static bool
is_of_all(const ErrorData *error)
{
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION:
		case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE:
			return true;
		default:
			return false;
	}
}

void
contain_each(int count, ContainedOfMany what, ContainedFailure failed, void *argument)
{
	Some		some = {what, argument, 0, count};
	ErrorData  *error;

	if (count == 0)
		return;
	if (IsInParallelMode())
	{
		what(argument, 0, count);
		return;
	}
	error = contain(do_some, &some);
	if (error == NULL)
		return;
	if (count == 1 || is_of_all(error))
	{
		for (int i = 0; i < count; i++)
			failed(argument, i, error->message);
		return;
	}
	some.count = 1;
	for (; some.first < count; some.first++)
	{
		CHECK_FOR_INTERRUPTS();
		error = contain(do_some, &some);
		if (error != NULL)
			failed(argument, some.first, error->message);
	}
}
