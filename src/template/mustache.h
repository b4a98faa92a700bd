/*
 * mustache.h
 *		Templates in the mustache language, and what they are filled with: jsonb.
 */
#ifndef CRM_MUSTACHE_H
#define CRM_MUSTACHE_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

typedef enum MustacheTag
{
	MUSTACHE_TEXT,
	MUSTACHE_VALUE,				/* {{name}} */
	MUSTACHE_RAW,				/* {{{name}}}, {{&name}} */
	MUSTACHE_SECTION,			/* {{#name}} */
	MUSTACHE_INVERTED			/* {{^name}} */
} MustacheTag;

typedef struct MustacheNode
{
	MustacheTag tag;
	const char *text;			/* literal text, or the name as it is written: in the source */
	int			length;
	List	   *children;		/* of a section */
} MustacheNode;

typedef enum MustacheEscape
{
	ESCAPE_NONE,
	ESCAPE_HTML,
	ESCAPE_URL
} MustacheEscape;

/* The nodes of a template, in CurrentMemoryContext; the source must stay. Error 22023 with the place. */
extern List *mustache_parse(const char *source, int length);

/* Appends the template, filled. Error 54000 when it gets too long. */
extern void mustache_render(const List *nodes, Jsonb *data, MustacheEscape escape, StringInfo result);

#endif							/* CRM_MUSTACHE_H */
