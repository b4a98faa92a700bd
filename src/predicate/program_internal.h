/*
 * program_internal.h
 *		What the files of the compiler share: program.c (nodes, sets, windows) and program_names.c (slots of names).
 */
#ifndef CRM_PROGRAM_INTERNAL_H
#define CRM_PROGRAM_INTERNAL_H

#include "postgres.h"

#include "predicate/program.h"

/* Makes room for one more element of an array of the program, zeroed, and counts it. */
#define APPEND(program, array, count) \
	(array) = program_grow((program), (array), (count), sizeof(*(array))), (count)++

extern void *program_grow(Program *program, void *array, int count, Size size);

/* program_names.c */
extern void program_names_create(Program *program);
extern int	attribute_slot(Program *program, const char *name);
extern int	kind_slot(Program *program, const char *name);
extern PropertyRef property_ref(Program *program, int kind, const char *name);

/* program_list.c */
extern LiteralIndex *literal_index(Program *program, int nliterals, const Value *literals, const AstMoment *moments);

#endif							/* CRM_PROGRAM_INTERNAL_H */
