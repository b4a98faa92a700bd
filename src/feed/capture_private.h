/*
 * capture_private.h
 *		What the files of capture share.
 */
#ifndef CRM_CAPTURE_PRIVATE_H
#define CRM_CAPTURE_PRIVATE_H

#include "postgres.h"

#include "nodes/pg_list.h"

#define CAPTURE_MAX_KEYS 8		/* columns of a key */

/* Beside the ids of crm.watch, which are positive: */
#define CAPTURE_OWN 0			/* a customer by his id; the bytes are the kind, or NULL for any */
#define CAPTURE_OWN_STALE (-1)	/* anybody, of the kind that the bytes are */

typedef struct CapturedKey
{
	int			watch;
	int64		id;				/* where there are no bytes, and for CAPTURE_OWN */
	struct varlena *bytes;		/* text[] of a watch, text of our own */
} CapturedKey;

/* What a transaction has touched. */
typedef struct CapturedKeys
{
	MemoryContext context;		/* NULL while there is nothing */
	int			count;
	int			room;
	CapturedKey *keys;			/* in the order in which they came */
	int		   *places;			/* by hash: number of the key + 1, or 0; twice as many as there is room for keys */
	int			nstale;
	int			stale[64];		/* watches, of which anybody may have changed */
	bool		all;			/* of any watch */
} CapturedKeys;

/* capture.c: beneath domains; one whose text is made without running anybody's code */
extern bool capture_key_type(Oid type);

/* capture_log.c; the others are to be called as the extension, connected to SPI, by a reader that has stored its position */
extern void capture_append(const CapturedKeys *keys);
extern void capture_begin(void);
extern void capture_rotate(void);

/* A row of crm.watch. */
typedef struct CaptureWatch
{
	int			id;
	char	   *kind;
	Oid			relation;
	char	   *relation_name;	/* by which it was watched */
	int			nkeys;
	char	  **keys;			/* names of the columns */
	Oid			types[CAPTURE_MAX_KEYS];	/* their types; InvalidOid where it is not there any more */
	char	   *mapping;		/* or NULL */
	char	   *search_path;
	char	   *definer;
	Oid			role;			/* the definer; InvalidOid if it is gone */
	int64		files;			/* what the table consisted of when it was looked at last; 0 for never */
	bool		failed;			/* its mapping, in this reading */
} CaptureWatch;

/* capture_watch.c */
extern List *capture_watches(void);
extern CaptureWatch *capture_watch_find(List *watches, int id);
extern void capture_watch_error(int id, const char *message);
extern void capture_check_table(Oid relation);	/* whether the current user may watch it */
extern void capture_make_triggers(const CaptureWatch *watch);	/* as the table's owner, connected to SPI, as the next */
extern void capture_drop_triggers(const CaptureWatch *watch);

/* capture_tables.c */
extern int64 capture_files_of(Oid relation);

#endif							/* CRM_CAPTURE_PRIVATE_H */
