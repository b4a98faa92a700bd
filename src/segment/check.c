/*
 * check.c
 *		Checks the names and types in a predicate against the feeds.
 *
 * What type a part of a predicate has is known as a set of possible types: a column of the shop has one, a property of a
 * tracked event may have any, a string in ISO form is a text and a moment. Two parts fit if they can fit; only what never
 * can is an error, for then the comparison would be false of everybody.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "feed/feed.h"
#include "predicate/lex.h"
#include "predicate/program.h"
#include "segment/check.h"

/* A set of possible ValueTypes. */
typedef uint32 Types;

#define TYPE(t) ((Types) 1 << (t))
#define TIMELY (TYPE(VALUE_DATE) | TYPE(VALUE_TIMESTAMP))
#define SCALARS (TYPE(VALUE_BOOLEAN) | TYPE(VALUE_TEXT) | TYPE(VALUE_NUMBER) | TIMELY)
#define ANY_TYPE (SCALARS | TYPE(VALUE_ARRAY))

#define MAX_SHOWN 80			/* bytes of a part of the predicate in a message */
#define MAX_LISTED 30			/* names in a message */

typedef struct Checker
{
	List	   *feeds;
	Feed	   *customers;		/* or NULL */
	bool		has_entry;
} Checker;

/* The event that a bracket is about, and the one around it; NULL outside brackets. */
typedef struct Scope
{
	const Feed *feed;
	const struct Scope *outer;
} Scope;

static Types types_of(Checker *check, const AstNode *node, const Scope *scope);

static const char *
shown(const AstNode *node)
{
	StringInfoData text;

	initStringInfo(&text);
	predicate_print(&text, node);
	if (text.len > MAX_SHOWN)
	{
		text.len = pg_mbcliplen(text.data, text.len, MAX_SHOWN);
		text.data[text.len] = '\0';
		appendStringInfoString(&text, "...");
	}
	return text.data;
}

static const char *
types_in_words(Types types)
{
	if (types & TIMELY)
		return "a moment";
	if (types & TYPE(VALUE_TEXT))
		return "a text";
	if (types & TYPE(VALUE_NUMBER))
		return "a number";
	if (types & TYPE(VALUE_BOOLEAN))
		return "true or false";
	return "an array";
}

/* "a, b, c", in the order of the feed */
static const char *
listed(int nnames, const char *const *names)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < nnames && i < MAX_LISTED; i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", names[i]);
	if (nnames > MAX_LISTED)
		appendStringInfo(&list, " and %d more", nnames - MAX_LISTED);
	return list.data;
}

/* The names of a feed's columns; for a kind, those that every event has too, beyond *ncolumns. */
static const char **
column_names(const Feed *feed, bool derived, int *ncolumns, int *nnames)
{
	static const char *const every_event[] = {
		"at", "hour", "weekday", "day", "week", "month", "year", "date", "week_of", "month_of"
	};
	const char **names;

	*ncolumns = feed == NULL ? 0 : feed->ncolumns;
	names = palloc(sizeof(char *) * (*ncolumns + lengthof(every_event)));
	for (*nnames = 0; *nnames < *ncolumns; (*nnames)++)
		names[*nnames] = feed->columns[*nnames].name;
	for (int i = 0; derived && i < (int) lengthof(every_event); i++)
		names[(*nnames)++] = every_event[i];
	return names;
}

static const FeedColumn *
find_column(const Feed *feed, const char *name)
{
	for (int i = 0; feed != NULL && i < feed->ncolumns; i++)
	{
		if (strcmp(feed->columns[i].name, name) == 0)
			return &feed->columns[i];
	}
	return NULL;
}

/* A column of the customers' feed, or else of what the extension itself knows of them. */
static const FeedColumn *
find_attribute(const Checker *check, const char *name)
{
	return find_column(feed_of_attribute(check->feeds, name), name);
}

/* The attribute that was probably meant, or NULL. */
static const char *
nearest_attribute(const Checker *check, const char *name)
{
	const char **names = NULL;
	int			nnames = 0;
	ListCell   *cell;

	foreach(cell, check->feeds)
	{
		const Feed *feed = lfirst(cell);

		if (!feed->customers || feed->ncolumns == 0)
			continue;
		names = names == NULL ? palloc(sizeof(char *) * feed->ncolumns) :
			repalloc(names, sizeof(char *) * (nnames + feed->ncolumns));
		for (int i = 0; i < feed->ncolumns; i++)
			names[nnames++] = feed->columns[i].name;
	}
	return predicate_nearest_word(name, names, nnames);
}

static const Feed *
find_kind(Checker *check, const char *kind)
{
	const Feed *feed = feed_find(check->feeds, kind);
	const char **names;
	const char *near;
	int			nnames = 0;
	ListCell   *cell;

	if (feed != NULL && !feed->customers)
		return feed;

	names = palloc(sizeof(char *) * (list_length(check->feeds) + 1));
	foreach(cell, check->feeds)
	{
		const Feed *other = lfirst(cell);

		/* what the extension itself knows, the shop learns elsewhere */
		if (!other->customers && !other->own)
			names[nnames++] = other->kind;
	}
	near = predicate_nearest_word(kind, names, nnames);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("kind \"%s\" does not exist", kind),
			 nnames == 0 ? errdetail("No kind of event has been defined or tracked yet.") :
			 errdetail("Known kinds: %s.", listed(nnames, names)),
			 near != NULL ? errhint("Perhaps you meant \"%s\".", near) :
			 errhint("A kind is made known by crm.define_event() or crm.track().")));
}

static Types
attribute_types(Checker *check, const char *name)
{
	const FeedColumn *column = find_attribute(check, name);
	const char **names;
	const char *near;
	int			ncolumns,
				nnames;

	if (column != NULL)
		return column->value_type == VALUE_UNKNOWN ? ANY_TYPE : TYPE(column->value_type);

	names = column_names(check->customers, false, &ncolumns, &nnames);
	near = nearest_attribute(check, name);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("attribute \"%s\" does not exist", name),
			 check->customers == NULL ? errdetail("Customers have not been defined yet.") :
			 ncolumns == 0 ? errdetail("Customers have no attributes.") :
			 errdetail("Attributes of customers: %s.", listed(ncolumns, names)),
			 near != NULL ? errhint("Perhaps you meant \"%s\".", near) :
			 errhint("Attributes are the columns of the query given to crm.define_customers().")));
}

static Types
property_types(Checker *check, const Feed *feed, const char *name)
{
	const FeedColumn *column;
	const char **names;
	const char *near;
	int			ncolumns,
				nnames;

	switch (derived_property(name))
	{
		case DERIVED_NONE:
			break;
		case DERIVED_AT:
			return TYPE(VALUE_TIMESTAMP);
		case DERIVED_DATE:
		case DERIVED_WEEK_OF:
		case DERIVED_MONTH_OF:
			return TYPE(VALUE_DATE);
		default:
			return TYPE(VALUE_NUMBER);
	}
	if (feed->tracked)
		return ANY_TYPE;
	column = find_column(feed, name);
	if (column != NULL)
		return column->value_type == VALUE_UNKNOWN ? ANY_TYPE : TYPE(column->value_type);

	names = column_names(feed, true, &ncolumns, &nnames);
	near = predicate_nearest_word(name, names, nnames);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("property \"%s\" of kind \"%s\" does not exist", name, feed->kind),
			 ncolumns == 0 ? errdetail("Events of this kind have no properties of their own.") :
			 errdetail("Its properties: %s.", listed(ncolumns, names)),
			 find_attribute(check, name) != NULL ?
			 errhint("An attribute of the customer is written \"customer.%s\" in brackets.", name) :
			 near != NULL ? errhint("Perhaps you meant \"%s\".", near) :
			 errhint("Properties are the columns of the query given to crm.define_event().")));
}

static Types
literal_types(const Value *literal)
{
	int64		moment;

	if (literal->type == VALUE_TEXT &&
		value_parse_iso(literal->u.text, (int) literal->length, &moment) != ISO_NONE)
		return TYPE(VALUE_TEXT) | TIMELY;
	return TYPE(literal->type);
}

static bool
comparable(Types a, Types b)
{
	return (a & b & SCALARS) != 0 || ((a & TIMELY) != 0 && (b & TIMELY) != 0);
}

/* What the elements of an array may be: told by the column, if it is one. */
static Types
element_types(Checker *check, const AstNode *node, const Scope *scope)
{
	const FeedColumn *column = NULL;
	Oid			element;

	if (node->tag == AST_NAME && scope != NULL)
		column = find_column(scope->feed, node->name);
	else if (node->tag == AST_NAME || node->tag == AST_CUSTOMER)
		column = find_attribute(check, node->name);
	if (column == NULL || column->value_type != VALUE_ARRAY || !OidIsValid(column->type))
		return SCALARS;
	element = get_base_element_type(column->type);
	if (!OidIsValid(element))
		return SCALARS;
	switch (getBaseType(element))
	{
		case BOOLOID:
			return TYPE(VALUE_BOOLEAN);
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
			return TYPE(VALUE_NUMBER);
		case DATEOID:
			return TYPE(VALUE_DATE);
		case TIMESTAMPTZOID:
			return TYPE(VALUE_TIMESTAMP);
		default:
			return TYPE(VALUE_TEXT);
	}
}

static void
misfit(const AstNode *whole, const char *what, Types is, const char *wanted, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("types never fit in \"%s\"", shown(whole)),
			 errdetail("%s is %s, not %s.", what, types_in_words(is), wanted),
			 hint != NULL ? errhint("%s", hint) : 0));
}

static const char *
comparison_hint(const AstNode *left, Types a, const Value *literal, Types b)
{
	Decimal		number;

	if (a == TYPE(VALUE_ARRAY) || b == TYPE(VALUE_ARRAY))
		return "What is in an array is asked for with \"contains\".";
	if (literal == NULL)
		return NULL;
	if ((a & TIMELY) != 0 && b == TYPE(VALUE_TEXT))
		return "A date is written '2026-01-31', a moment '2026-01-31 15:00+03'.";
	if (a == TYPE(VALUE_NUMBER) && b == TYPE(VALUE_TEXT) &&
		decimal_from_string(literal->u.text, (int) literal->length, &number))
		return "A number is written without quotes.";
	if (a == TYPE(VALUE_TEXT) && b == TYPE(VALUE_NUMBER))
		return "A text is written in quotes.";
	if (a == TYPE(VALUE_BOOLEAN))
		return psprintf("Write \"%s = true\".", shown(left));
	return NULL;
}

static void
check_comparable(const AstNode *whole, const AstNode *left, Types a, const AstNode *right, Types b)
{
	if (comparable(a, b))
		return;
	/* the literal last, for the message is about it */
	if (left->tag == AST_LITERAL && right->tag != AST_LITERAL)
		check_comparable(whole, right, b, left, a);
	misfit(whole, shown(left), a, psprintf("%s as %s", types_in_words(b), shown(right)),
		   comparison_hint(left, a, right->tag == AST_LITERAL ? &right->literals[0] : NULL, b));
}

static void
check_literals(const AstNode *whole, const char *what, Types types)
{
	for (int i = 0; i < whole->nliterals; i++)
	{
		Types		literal = literal_types(&whole->literals[i]);

		if (!comparable(types, literal))
			misfit(whole, what, types, types_in_words(literal),
				   comparison_hint(whole->args[0], types, &whole->literals[i], literal));
	}
}

static void
check_window(Checker *check, const AstWindow *window)
{
	if (window != NULL && window->tag == WINDOW_SINCE_ENTRY && !check->has_entry)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"since entry\" has no meaning here"),
				 errdetail("The instant of entry is known only within a campaign run."),
				 errhint("Give a window of its own, such as \"in last 7 days\".")));
}

/* Is a surely no shorter than b, whatever months and days they are added to? */
static bool
surely_as_long(const Interval *a, const Interval *b)
{
	double		shortest,
				longest;

	if (a->month >= b->month && a->day >= b->day && a->time >= b->time)
		return true;
	shortest = (a->month * 28.0 + a->day) * 23 * USECS_PER_HOUR + a->time;
	longest = (b->month * 31.0 + b->day) * 25 * USECS_PER_HOUR + b->time;
	return shortest >= longest;
}

/* The span of a "not followed by ... within" that an event must outlive to count, or NULL. */
static const AstNode *
longest_wait(const AstNode *filter, const Interval *over)
{
	if (filter->tag == AST_AND)
	{
		for (int i = 0; i < filter->nargs; i++)
		{
			const AstNode *found = longest_wait(filter->args[i], over);

			if (found != NULL)
				return found;
		}
		return NULL;
	}
	if (filter->tag == AST_NOT && filter->args[0]->tag == AST_FOLLOWED && !filter->args[0]->negated)
		filter = filter->args[0];
	else if (filter->tag != AST_FOLLOWED || !filter->negated)
		return NULL;
	return filter->op == 0 && filter->span != NULL && surely_as_long(&filter->span->interval, over) ? filter : NULL;
}

static void
warn_of_wait(const AstEvents *events)
{
	const AstWindow *window = events->window;
	const AstSpan *over;
	const AstNode *wait;
	StringInfoData text;

	if (window == NULL || events->filter == NULL)
		return;
	if (window->tag == WINDOW_IN_LAST)
		over = window->d1;
	else if (window->tag == WINDOW_BETWEEN_AGO)
		over = window->d2;
	else
		return;
	wait = longest_wait(events->filter, &over->interval);
	if (wait == NULL)
		return;

	initStringInfo(&text);
	predicate_print_window(&text, window);
	ereport(WARNING,
			(errcode(ERRCODE_WARNING),
			 errmsg("no \"%s\" can ever count here", events->kind),
			 errdetail("When \"not %s\" is decided, the event is no longer \"%s\".",
					   shown(wait), text.data),
			 errhint("Make the window longer than the time after \"within\".")));
}

/* The kind, its brackets and its window; gives what the property may be. */
static Types
check_events(Checker *check, const AstEvents *events, const Scope *outer)
{
	Scope		scope;
	Types		types = 0;

	scope.feed = find_kind(check, events->kind);
	scope.outer = outer;
	if (events->filter != NULL)
		(void) types_of(check, events->filter, &scope);
	if (events->property != NULL)
		types = property_types(check, scope.feed, events->property);
	check_window(check, events->window);
	warn_of_wait(events);
	return types;
}

static Types
aggregate_types(Checker *check, const AstNode *node, const Scope *scope)
{
	Types		types = check_events(check, node->events, scope);
	const char *property = node->events->property;

	switch (node->op)
	{
		case AGG_SUM:
		case AGG_AVG:
			if ((types & TYPE(VALUE_NUMBER)) == 0)
				misfit(node, property, types, "a number", NULL);
			return TYPE(VALUE_NUMBER);
		case AGG_COUNT:
			return TYPE(VALUE_NUMBER);
		case AGG_FIRST:
		case AGG_LAST:
			return types;
		default:
			if ((types & SCALARS) == 0)
				misfit(node, property, types, "a single value", "Only \"first\" and \"last\" look at arrays.");
			return node->op == AGG_DISTINCT || node->op == AGG_MOST ? TYPE(VALUE_NUMBER) : types & SCALARS;
	}
}

static void
require(const AstNode *whole, const AstNode *arg, Types types, Types wanted, const char *name, const char *hint)
{
	if ((types & wanted) == 0)
		misfit(whole, shown(arg), types, name, hint);
}

/* Checks a node with all beneath it. A truth is of type boolean. */
static Types
types_of(Checker *check, const AstNode *node, const Scope *scope)
{
	static const char *const moment_hint =
		"In the feed, make it a column of type date or timestamp with time zone.";
	Types		args[3] = {0, 0, 0};

	check_stack_depth();
	for (int i = 0; i < node->nargs; i++)
	{
		Types		types = types_of(check, node->args[i], scope);

		if (i < (int) lengthof(args))
			args[i] = types;
	}
	if (node->tag == AST_IN_WINDOW)
		check_window(check, node->window);

	switch (node->tag)
	{
		case AST_COMPARE:
			check_comparable(node, node->args[0], args[0], node->args[1], args[1]);
			break;
		case AST_BETWEEN:
			check_comparable(node, node->args[0], args[0], node->args[1], args[1]);
			check_comparable(node, node->args[0], args[0], node->args[2], args[2]);
			break;
		case AST_IN_LIST:
			check_literals(node, shown(node->args[0]), args[0]);
			break;
		case AST_LIKE:
			require(node, node->args[0], args[0], TYPE(VALUE_TEXT), "a text",
					args[0] == TYPE(VALUE_ARRAY) ? "What is in an array is asked for with \"contains\"." : NULL);
			break;
		case AST_CONTAINS:
			require(node, node->args[0], args[0], TYPE(VALUE_ARRAY), "an array",
					(args[0] & TYPE(VALUE_TEXT)) != 0 ? "A part of a text is asked for with \"like '%part%'\"." : NULL);
			check_literals(node, psprintf("a member of %s", shown(node->args[0])),
						   element_types(check, node->args[0], scope));
			break;
		case AST_IN_WINDOW:
			require(node, node->args[0], args[0], TIMELY, "a moment", moment_hint);
			break;
		case AST_HAS:
		case AST_FOLLOWED:
			(void) check_events(check, node->events, node->tag == AST_FOLLOWED ? scope : NULL);
			break;
		case AST_SAME:
			{
				Types		inner = property_types(check, scope->feed, node->name);
				Types		outer = scope->outer == NULL ? inner :
					property_types(check, scope->outer->feed, node->name);

				if (!comparable(inner, outer))
					misfit(node, psprintf("%s of %s", node->name, scope->feed->kind), inner,
						   psprintf("%s as that of %s", types_in_words(outer), scope->outer->feed->kind), NULL);
				break;
			}
		case AST_LITERAL:
			return literal_types(&node->literals[0]);
		case AST_NAME:
			return scope != NULL ? property_types(check, scope->feed, node->name) : attribute_types(check, node->name);
		case AST_CUSTOMER:
			return attribute_types(check, node->name);
		case AST_AGGREGATE:
			return aggregate_types(check, node, scope);
		case AST_MOMENT_OF:
			(void) check_events(check, node->events, scope);
			return TYPE(VALUE_TIMESTAMP);
		case AST_ANNIVERSARY:
			require(node, node->args[0], args[0], TIMELY | TYPE(VALUE_ARRAY), "a moment", moment_hint);
			return TYPE(VALUE_TIMESTAMP);
		case AST_BUCKET:
			return TYPE(VALUE_NUMBER);
		case AST_ARITHMETIC:
			if (node->args[1]->tag == AST_INTERVAL)
			{
				require(node, node->args[0], args[0], TIMELY, "a moment", moment_hint);
				return TYPE(VALUE_TIMESTAMP);
			}
			require(node, node->args[0], args[0], TYPE(VALUE_NUMBER), "a number", NULL);
			require(node, node->args[1], args[1], TYPE(VALUE_NUMBER), "a number", NULL);
			return TYPE(VALUE_NUMBER);
		case AST_NEGATE:
			require(node, node->args[0], args[0], TYPE(VALUE_NUMBER), "a number", NULL);
			return TYPE(VALUE_NUMBER);
		default:
			break;
	}
	return TYPE(VALUE_BOOLEAN);
}

void
predicate_check(AstNode *root, List *feeds, bool has_entry)
{
	Checker		check;

	check.feeds = feeds;
	check.customers = feed_find(feeds, FEED_CUSTOMER);
	check.has_entry = has_entry;
	(void) types_of(&check, root, NULL);
}
