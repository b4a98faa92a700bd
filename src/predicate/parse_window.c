/*
 * parse_window.c
 *		Reads intervals, timestamps and windows.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "predicate/parse.h"

#define TIMESTAMP_HINT \
	"Dates and times are written '2026-01-31', '2026-01-31 12:00' or '2026-01-31T12:00:00Z'."

#define MAX_YEARS INT64CONST(10000)	/* of an interval */
#define MAX_MONTHS (MAX_YEARS * 12)
#define MAX_DAYS (MAX_YEARS * 366)
#define MAX_TIME (MAX_DAYS * USECS_PER_DAY)

/* Adds number units to the interval; false if it becomes too long. */
static bool
add_term(Interval *interval, int64 number, CalendarUnit unit)
{
	static const struct
	{
		int64		months;
		int64		days;
		int64		time;
	}			sizes[CALENDAR_UNITS] = {
		[UNIT_SECOND] = {0, 0, USECS_PER_SEC},
		[UNIT_MINUTE] = {0, 0, USECS_PER_MINUTE},
		[UNIT_HOUR] = {0, 0, USECS_PER_HOUR},
		[UNIT_DAY] = {0, 1, 0},
		[UNIT_WEEK] = {0, 7, 0},
		[UNIT_MONTH] = {1, 0, 0},
		[UNIT_QUARTER] = {3, 0, 0},
		[UNIT_YEAR] = {12, 0, 0},
	};

	if (number > MAX_MONTHS / Max(sizes[unit].months, 1) && sizes[unit].months > 0)
		return false;
	if (number > MAX_DAYS / Max(sizes[unit].days, 1) && sizes[unit].days > 0)
		return false;
	if (number > MAX_TIME / Max(sizes[unit].time, 1))
		return false;
	interval->month += (int32) (number * sizes[unit].months);
	interval->day += (int32) (number * sizes[unit].days);
	interval->time += number * sizes[unit].time;
	return interval->month <= MAX_MONTHS && interval->day <= MAX_DAYS && interval->time <= MAX_TIME;
}

/* A unit, after a number or a word such as "this". */
static bool
parse_unit(Parser *parser, const Token *number)
{
	Token	   *token = parser->token;
	const char *nearest;

	if (token->unit >= 0)
	{
		parser->token++;
		return true;
	}
	if (token->type == TOKEN_NAME && !token->quoted)
	{
		nearest = predicate_nearest_unit(token->name);
		if (nearest != NULL || token->keyword == WORD_NONE)
			PARSE_ERROR(parser, token, false,
						errcode(ERRCODE_SYNTAX_ERROR),
						errmsg("unknown unit \"%s\"", token->name),
						nearest ? errhint("Perhaps you meant \"%s\".", nearest) :
						errhint("The units are second, minute, hour, day, week, month, quarter and year."));
	}
	return parse_unexpected(parser, psprintf("a unit after \"%.*s\"", Min(number->length, 40),
											 parser->text + number->location),
							number->type == TOKEN_NUMBER && parse_at_word(parser, WORD_AND) ?
							"Each interval has its own unit: between 7 days and 8 days ago." :
							"The units are second, minute, hour, day, week, month, quarter and year.");
}

/* The whole positive number of a token. */
static bool
read_count(Parser *parser, const Token *token, int64 *count)
{
	Decimal		number = value_decimal(token->value);

	if (number.scale > 0)
		PARSE_ERROR(parser, token, false,
					errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("an interval takes whole numbers"),
					errhint("Write it in a smaller unit: 36 hours for one and a half days."));
	if (number.scale == DECIMAL_BIG)
		PARSE_ERROR(parser, token, false,
					errcode(ERRCODE_INTERVAL_FIELD_OVERFLOW),
					errmsg("interval is out of range"),
					errhint("The limit is " INT64_FORMAT " years.", MAX_YEARS));
	if (number.u.mantissa <= 0)
		PARSE_ERROR(parser, token, false,
					errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("an interval must be longer than zero"),
					errhint("Leave out what is zero; the current day is \"today\", the current month \"this month\"."));
	*count = number.u.mantissa;
	return true;
}

/* number unit { number unit } */
AstSpan *
parse_span(Parser *parser, const char *after)
{
	AstSpan    *span = palloc0(sizeof(AstSpan));

	if (parser->token->type != TOKEN_NUMBER)
	{
		Token	   *token = parser->token;
		const char *hint = NULL;

		if (token->symbol == '-')
			PARSE_ERROR(parser, token, NULL,
						errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("an interval must be longer than zero"),
						strcmp(after, "within") == 0 ?
						errhint("\"followed by\" looks ahead, \"preceded by\" back.") :
						errhint("What lies ahead is \"in next 3 days\", what lies behind \"in last 3 days\"."));
		if (token->unit >= 0)
			hint = psprintf("Write the number: 1 %s.", calendar_unit_names[token->unit]);
		else if (token->type == TOKEN_STRING)
			hint = "Intervals are written without quotes: 3 days.";
		parse_unexpected(parser, psprintf("an interval after \"%s\"", after),
						 hint ? hint : "An interval is a number and a unit: 3 days.");
		return NULL;
	}
	while (parser->token->type == TOKEN_NUMBER)
	{
		Token	   *token = parser->token++;
		AstTerm    *term;
		int64		number;

		if (!read_count(parser, token, &number) || !parse_unit(parser, token))
			return NULL;
		if (span->nterms == 0)
			span->terms = palloc(sizeof(AstTerm));
		else
			span->terms = repalloc(span->terms, sizeof(AstTerm) * (span->nterms + 1));
		term = &span->terms[span->nterms++];
		term->number = number;
		term->unit = (CalendarUnit) parser->token[-1].unit;
		if (!add_term(&span->interval, number, term->unit))
			PARSE_ERROR(parser, token, NULL,
						errcode(ERRCODE_INTERVAL_FIELD_OVERFLOW),
						errmsg("interval is out of range"),
						errhint("The limit is " INT64_FORMAT " years.", MAX_YEARS));
	}
	return span;
}

/* Whether the text is in ISO form, and what it says. */
bool
parse_moment(const Value *text, AstMoment *moment)
{
	moment->text = *text;
	moment->form = value_parse_iso(text->u.text, (int) text->length, &moment->value);
	return moment->form != ISO_NONE;
}

/* Whether a text that is no date has the form of one, so that the calendar or the clock lacks it. */
static bool
looks_like_date(const Value *text)
{
	int			i;

	for (i = 0; i < 10; i++)
	{
		if (i >= (int) text->length ||
			(i == 4 || i == 7 ? text->u.text[i] != '-' : text->u.text[i] < '0' || text->u.text[i] > '9'))
			return false;
	}
	return true;
}

static bool
parse_timestamp(Parser *parser, const char *after, AstMoment *moment)
{
	Token	   *token = parser->token;

	if (token->type != TOKEN_STRING)
	{
		const char *hint = TIMESTAMP_HINT;

		switch (token->keyword)
		{
			case WORD_TODAY:
			case WORD_YESTERDAY:
			case WORD_TOMORROW:
			case WORD_THIS:
			case WORD_PREVIOUS:
			case WORD_LAST:
			case WORD_NEXT:
				hint = "Windows stand alone: today, this month, previous month, in last 1 month, before 1 month ago.";
				break;
			default:
				break;
		}
		return parse_unexpected(parser, psprintf("a date in quotes after \"%s\"", after), hint);
	}
	if (!parse_moment(&token->value, moment))
		PARSE_ERROR(parser, token, false,
					errcode(ERRCODE_INVALID_DATETIME_FORMAT),
					errmsg("expected a date or a date and time after \"%s\"", after),
					looks_like_date(&token->value) ?
					errhint("There is no such day or time, or its form is not one of these: "
							"'2026-01-31', '2026-01-31 12:00', '2026-01-31T12:00:00Z'.") :
					errhint(TIMESTAMP_HINT));
	parser->token++;
	return true;
}

/* No zone has ever been further from UTC. */
#define ZONE_FURTHEST	(16 * USECS_PER_HOUR)

/*
 * Whether t1 is not before t2 in any zone. Of two local times, and of two instants, the order is the same in all; where
 * a local time stands against an instant the zone decides, which is known only when the predicate is evaluated.
 */
static bool
moments_disordered(const AstMoment *t1, const AstMoment *t2)
{
	int64		first = t1->form == ISO_DATE ? t1->value * USECS_PER_DAY : t1->value;
	int64		second = t2->form == ISO_DATE ? t2->value * USECS_PER_DAY : t2->value;

	if ((t1->form == ISO_INSTANT) != (t2->form == ISO_INSTANT))
		second += ZONE_FURTHEST;
	return first >= second;
}

/* Checks that the bounds of a window between two are in order. */
AstWindow *
parse_window_between(Parser *parser, const Token *first, AstWindow *window)
{
	if (window->tag == WINDOW_BETWEEN_AGO)
	{
		if (!DatumGetBool(DirectFunctionCall2(interval_lt, IntervalPGetDatum(&window->d1->interval),
											  IntervalPGetDatum(&window->d2->interval))))
			PARSE_ERROR(parser, first, NULL,
						errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the first interval must be shorter than the second"),
						errhint("Write the nearer bound first: between 7 days and 8 days ago."));
	}
	else if (moments_disordered(&window->t1, &window->t2))
		PARSE_ERROR(parser, first, NULL,
					errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("the first date must be earlier than the second"),
					errhint("The second bound is not in the window: one day is between '2026-01-31' and '2026-02-01'."));
	return window;
}

/* Whether the token looked at begins a window. */
bool
parse_at_window(const Parser *parser)
{
	switch (parser->token->keyword)
	{
		case WORD_IN:
		case WORD_BEFORE:
		case WORD_BETWEEN:
		case WORD_SINCE:
		case WORD_TODAY:
		case WORD_YESTERDAY:
		case WORD_TOMORROW:
		case WORD_THIS:
		case WORD_PREVIOUS:
			return true;
		default:
			return false;
	}
}

/* "in last 3 days" and "in next 3 days", after "in" */
static AstWindow *
parse_in_window(Parser *parser, AstWindow *window)
{
	Token	   *token = parser->token;
	const char *after;

	if (token->keyword != WORD_LAST && token->keyword != WORD_NEXT)
	{
		parse_unexpected(parser, "\"last\" or \"next\" after \"in\"",
						 token->keyword == WORD_THIS || token->keyword == WORD_PREVIOUS ?
						 "Write it without \"in\"." : "Windows are written \"in last 3 days\" or \"in next 3 days\".");
		return NULL;
	}
	window->tag = token->keyword == WORD_LAST ? WINDOW_IN_LAST : WINDOW_IN_NEXT;
	after = token->keyword == WORD_LAST ? "in last" : "in next";
	parser->token++;
	if (parser->token->unit >= 0)
	{
		const char *unit = calendar_unit_names[parser->token->unit];

		parse_unexpected(parser, psprintf("a number after \"%s\"", after),
						 window->tag == WINDOW_IN_NEXT ? psprintf("Write \"in next 1 %s\".", unit) :
						 parser->token->unit == UNIT_DAY ? "Write \"in last 1 day\", or \"yesterday\"." :
						 psprintf("Write \"in last 1 %s\", or \"previous %s\" for the %s of the calendar before this one.",
								  unit, unit, unit));
		return NULL;
	}
	window->d1 = parse_span(parser, after);
	return window->d1 ? window : NULL;
}

/* "before 3 months ago" and "before '2026-01-01'", after "before" */
static AstWindow *
parse_before(Parser *parser, AstWindow *window)
{
	if (parser->token->type == TOKEN_NUMBER && parser->token[1].symbol != '-')
	{
		window->tag = WINDOW_BEFORE_AGO;
		window->d1 = parse_span(parser, "before");
		if (window->d1 == NULL || !parse_word(parser, WORD_AGO, "\"ago\"",
											  "The window is written \"before 3 days ago\"."))
			return NULL;
		return window;
	}
	window->tag = WINDOW_BEFORE;
	return parse_timestamp(parser, "before", &window->t1) ? window : NULL;
}

/* "since '2026-01-01'" and "since entry", after "since" */
static AstWindow *
parse_since(Parser *parser, AstWindow *window)
{
	if (parse_at_word(parser, WORD_ENTRY))
	{
		parser->token++;
		window->tag = WINDOW_SINCE_ENTRY;
		return window;
	}
	if (parser->token->type == TOKEN_NUMBER && parser->token[1].symbol != '-')
	{
		Token	   *token = parser->token;
		AstWindow	meant = {0};
		StringInfoData hint;

		meant.tag = WINDOW_IN_LAST;
		meant.d1 = parse_span(parser, "since");
		if (meant.d1 == NULL)
			return NULL;
		initStringInfo(&hint);
		predicate_print_window(&hint, &meant);
		PARSE_ERROR(parser, token, NULL,
					errcode(ERRCODE_SYNTAX_ERROR),
					errmsg("expected a date in quotes or \"entry\" after \"since\""),
					errhint("Write \"%s\".", hint.data));
	}
	window->tag = WINDOW_SINCE;
	return parse_timestamp(parser, "since", &window->t1) ? window : NULL;
}

/* "this month", "previous month" and "previous 3 months", after the first word */
static AstWindow *
parse_period(Parser *parser, AstWindow *window, const Token *first)
{
	Token	   *token = parser->token;

	window->bare = true;
	window->count = 1;
	if (window->tag == WINDOW_PREVIOUS && token->type == TOKEN_NUMBER)
	{
		Interval	interval = {0};

		window->bare = false;
		parser->token++;
		if (!read_count(parser, token, &window->count) || !parse_unit(parser, token))
			return NULL;
		window->unit = (CalendarUnit) parser->token[-1].unit;
		if (!add_term(&interval, window->count, window->unit))
			PARSE_ERROR(parser, token, NULL,
						errcode(ERRCODE_INTERVAL_FIELD_OVERFLOW),
						errmsg("interval is out of range"),
						errhint("The limit is " INT64_FORMAT " years.", MAX_YEARS));
		return window;
	}
	if (token->type == TOKEN_NUMBER)
	{
		parse_unexpected(parser, "a unit after \"this\"",
						 "Write \"this month\", or \"previous 3 months\" for the months of the calendar before this one.");
		return NULL;
	}
	if (token->unit >= 0 && token->plural)
	{
		const char *unit = calendar_unit_names[token->unit];

		parse_unexpected(parser, psprintf("a single unit after \"%s\"", first->name),
						 window->tag == WINDOW_THIS ? psprintf("Write \"this %s\".", unit) :
						 psprintf("Write \"previous %s\" or \"previous 3 %ss\".", unit, unit));
		return NULL;
	}
	if (!parse_unit(parser, first))
		return NULL;
	window->unit = (CalendarUnit) token->unit;
	return window;
}

/* A window, whose first word has been read. */
AstWindow *
parse_window(Parser *parser, const Token *first)
{
	AstWindow  *window = palloc0(sizeof(AstWindow));

	window->location = first->location;
	switch (first->keyword)
	{
		case WORD_IN:
			return parse_in_window(parser, window);
		case WORD_BEFORE:
			return parse_before(parser, window);
		case WORD_SINCE:
			return parse_since(parser, window);
		case WORD_BETWEEN:
			if (parser->token->type == TOKEN_STRING)
			{
				window->tag = WINDOW_BETWEEN;
				if (!parse_timestamp(parser, "between", &window->t1) ||
					!parse_word(parser, WORD_AND, "\"and\" after \"between\"",
								"The window is written \"between '2026-01-01' and '2026-02-01'\".") ||
					!parse_timestamp(parser, "and", &window->t2))
					return NULL;
				return parse_window_between(parser, first, window);
			}
			window->tag = WINDOW_BETWEEN_AGO;
			if ((window->d1 = parse_span(parser, "between")) == NULL ||
				!parse_word(parser, WORD_AND, "\"and\" after \"between\"",
							"The window is written \"between 7 days and 8 days ago\".") ||
				(window->d2 = parse_span(parser, "and")) == NULL ||
				!parse_word(parser, WORD_AGO, "\"ago\"", "The window is written \"between 7 days and 8 days ago\"."))
				return NULL;
			return parse_window_between(parser, first, window);
		case WORD_TOMORROW:
			window->tag = WINDOW_TOMORROW;
			window->unit = UNIT_DAY;
			return window;
		case WORD_TODAY:
		case WORD_YESTERDAY:
			window->tag = first->keyword == WORD_TODAY ? WINDOW_THIS : WINDOW_PREVIOUS;
			window->unit = UNIT_DAY;
			window->count = 1;
			window->bare = true;
			return window;
		case WORD_THIS:
		case WORD_PREVIOUS:
			window->tag = first->keyword == WORD_THIS ? WINDOW_THIS : WINDOW_PREVIOUS;
			return parse_period(parser, window, first);
		default:
			elog(ERROR, "unexpected first word of a window");
			return NULL;
	}
}
