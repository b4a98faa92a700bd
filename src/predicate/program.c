/*
 * program.c
 *		Compiles trees of predicates into a program in which equal parts are one.
 *
 * A part is known by its canonical text and, in brackets, the chain of kinds around it, because there a name means a
 * property of the innermost event. The text is as good a key as a structural hash and needs no second walk to compare.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"

#include "predicate/program_internal.h"

/* The brackets around a node: the innermost kind, its outer ones, and the prefix of keys of nodes in there. */
typedef struct Scope
{
	int			kind;
	const struct Scope *outer;
	char	   *prefix;
} Scope;

typedef struct Compiler
{
	Program    *program;
	SegmentResolver resolver;
	void	   *context;
	int			segment_depth;
} Compiler;

/* Segments within segments; a circle, which their owner should have refused, ends here too. */
#define MAX_SEGMENT_DEPTH 64

typedef struct IndexEntry
{
	const char *key;
	int			number;
} IndexEntry;

static int	compile(Compiler *compiler, AstNode *ast, const Scope *scope);

static uint32
key_hash(const void *key, Size keysize)
{
	const char *text = *(const char *const *) key;

	(void) keysize;
	return hash_bytes((const unsigned char *) text, (int) strlen(text));
}

static int
key_match(const void *a, const void *b, Size keysize)
{
	(void) keysize;
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* Doubles an array when it is full. */
void *
program_grow(Program *program, void *array, int count, Size size)
{
	if (array == NULL)
		return MemoryContextAllocZero(program->context, size * 8);
	if (count >= 8 && (count & (count - 1)) == 0)
	{
		array = repalloc_huge(array, size * count * 2);
		memset((char *) array + size * count, 0, size * count);
	}
	return array;
}

Program *
program_create(MemoryContext context)
{
	Program    *program = MemoryContextAllocZero(context, sizeof(Program));
	HASHCTL		ctl = {0};

	program->context = context;
	ctl.keysize = sizeof(char *);
	ctl.entrysize = sizeof(IndexEntry);
	ctl.hash = key_hash;
	ctl.match = key_match;
	ctl.hcxt = context;
	program->index = hash_create("parts of predicates", 256, &ctl,
								 HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
	program_names_create(program);
	return program;
}

/* The number known under a key, or -1. */
static int
lookup(Program *program, const char *key)
{
	IndexEntry *entry = hash_search(program->index, &key, HASH_FIND, NULL);

	return entry == NULL ? -1 : entry->number;
}

static void
remember(Program *program, const char *key, int number)
{
	const char *copy = MemoryContextStrdup(program->context, key);
	IndexEntry *entry = hash_search(program->index, &copy, HASH_ENTER, NULL);

	entry->number = number;
}

static int
compile_window(Program *program, AstWindow *window)
{
	StringInfoData key;
	int			number;

	initStringInfo(&key);
	appendStringInfoString(&key, "window:");
	predicate_print_window(&key, window);
	number = lookup(program, key.data);
	if (number < 0)
	{
		number = program->nwindows;
		APPEND(program, program->windows, program->nwindows);
		program->windows[number] = window;
		remember(program, key.data, number);
		if (window->tag == WINDOW_SINCE_ENTRY)
			program->uses_entry = true;
	}
	pfree(key.data);
	return number;
}

static void
add_part(Program *program, ProgramParts *parts, int node)
{
	APPEND(program, parts->nodes, parts->count);
	parts->nodes[parts->count - 1] = node;
}

/* Sorts the parts of a set's filter by how they are to be asked. */
static void
split_filter(Program *program, ProgramSet *set)
{
	const ProgramNode *filter = &program->nodes[set->filter];
	bool		conjunction = filter->tag == AST_AND;

	for (int i = 0; i < (conjunction ? filter->nargs : 1); i++)
	{
		int			number = conjunction ? filter->args[i] : set->filter;
		const ProgramNode *part = &program->nodes[number];

		add_part(program,
				 part->tag == AST_SAME ? &set->same : part->outer ? &set->pairs : part->timed ? &set->moving : &set->plain,
				 number);
	}
}

/* kind[filter], without window */
static int
compile_set(Compiler *compiler, AstEvents *events, const Scope *scope)
{
	Program    *program = compiler->program;
	StringInfoData key;
	ProgramSet	set = {0};
	int			number;

	set.kind = kind_slot(program, events->kind);
	set.filter = -1;

	initStringInfo(&key);
	appendStringInfo(&key, "set:%d", set.kind);
	if (events->filter != NULL)
	{
		Scope		inner;

		inner.kind = set.kind;
		inner.outer = scope;
		inner.prefix = psprintf("%s%d[", scope == NULL ? "" : scope->prefix, set.kind);
		set.filter = compile(compiler, events->filter, &inner);
		set.timed = program->nodes[set.filter].timed;
		set.outer = program->nodes[set.filter].outer;

		/* what does not look at the outer event is the same set wherever it stands; its filter is, by its number, not */
		if (set.outer)
			appendStringInfo(&key, "[%d", set.filter);
		else
		{
			appendStringInfoChar(&key, '[');
			predicate_print(&key, events->filter);
		}
	}
	number = lookup(program, key.data);
	if (number < 0)
	{
		number = program->nsets;
		if (set.filter >= 0)
			split_filter(program, &set);
		APPEND(program, program->sets, program->nsets);
		program->sets[number] = set;
		remember(program, key.data, number);
	}
	pfree(key.data);
	return number;
}

static int
compile_events(Compiler *compiler, AstEvents *events)
{
	Program    *program = compiler->program;
	ProgramEvents pair;
	char		key[64];
	int			number;

	pair.set = compile_set(compiler, events, NULL);
	pair.window = events->window == NULL ? -1 : compile_window(program, events->window);
	snprintf(key, sizeof(key), "events:%d:%d", pair.set, pair.window);
	number = lookup(program, key);
	if (number < 0)
	{
		number = program->nevents;
		APPEND(program, program->events, program->nevents);
		program->events[number] = pair;
		remember(program, key, number);
	}
	return number;
}

/* Running sums over a set that many windows look at. */
static int
compile_sums(Program *program, int set, PropertyRef property)
{
	char		key[96];
	int			number;

	if (program->sets[set].timed || property.derived != DERIVED_NONE)
		return -1;
	snprintf(key, sizeof(key), "sums:%d:%d", set, property.column);
	number = lookup(program, key);
	if (number < 0)
	{
		number = program->nsums;
		APPEND(program, program->sums, program->nsums);
		program->sums[number].set = set;
		program->sums[number].property = property;
		remember(program, key, number);
	}
	program->sums[number].users++;
	return number;
}

/* What distinct, most, mode, min and max look at. */
static int
compile_column(Program *program, int set, PropertyRef property)
{
	char		key[96];
	int			number;

	if (program->sets[set].timed)
		return -1;
	snprintf(key, sizeof(key), "column:%d:%d:%d", set, (int) property.derived, property.column);
	number = lookup(program, key);
	if (number < 0)
	{
		number = program->ncolumns;
		APPEND(program, program->columns, program->ncolumns);
		program->columns[number].set = set;
		program->columns[number].property = property;
		remember(program, key, number);
	}
	return number;
}

static AstMoment *
literal_moments(Program *program, int count, const Value *literals)
{
	AstMoment  *moments = MemoryContextAllocZero(program->context, sizeof(AstMoment) * Max(count, 1));

	for (int i = 0; i < count; i++)
	{
		moments[i].text = literals[i];
		if (literals[i].type == VALUE_TEXT)
			moments[i].form = value_parse_iso(literals[i].u.text, (int) literals[i].length, &moments[i].value);
	}
	return moments;
}

/* An anniversary before a window stands for many moments: what is added to it is added to each. */
static void
compile_anniversary(Program *program, ProgramNode *node)
{
	int			inner = node->args[0];
	int			nshifts = 0;

	while (program->nodes[inner].tag == AST_ARITHMETIC &&
		   program->nodes[program->nodes[inner].args[1]].tag == AST_INTERVAL)
	{
		nshifts++;
		inner = program->nodes[inner].args[0];
	}
	if (program->nodes[inner].tag != AST_ANNIVERSARY)
		return;

	node->anniversary = inner;
	node->nshifts = nshifts;
	node->shifts = MemoryContextAlloc(program->context, sizeof(Interval) * Max(nshifts, 1));
	inner = node->args[0];
	for (int i = nshifts - 1; i >= 0; i--)
	{
		const ProgramNode *shift = &program->nodes[inner];

		node->shifts[i] = program->nodes[shift->args[1]].span;
		if (shift->op == '-')
			node->shifts[i] = calendar_negated(&node->shifts[i]);
		inner = shift->args[0];
	}
}

static int
compile_segment(Compiler *compiler, AstNode *ast, ProgramNode *node)
{
	AstNode    *tree;
	int			root;

	if (compiler->resolver == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"in segment\" is not resolved"),
				 errdetail("A segment means something only among the stored ones, not for a single profile."),
				 errhint("Use crm.is_member(), crm.preview() or crm.explain() with a customer's id.")));
	if (compiler->segment_depth >= MAX_SEGMENT_DEPTH)
		ereport(ERROR,
				(errcode(ERRCODE_STATEMENT_TOO_COMPLEX),
				 errmsg("segments are nested too deeply"),
				 errdetail("More than %d segments stand within each other.", MAX_SEGMENT_DEPTH)));
	tree = compiler->resolver(&ast->literals[0], &node->segment, compiler->context);
	if (tree == NULL)
	{
		compiler->program->uses_segments = true;
		return -1;
	}
	compiler->segment_depth++;
	root = compile(compiler, tree, NULL);
	compiler->segment_depth--;
	return root;
}

static int
compile(Compiler *compiler, AstNode *ast, const Scope *scope)
{
	Program    *program = compiler->program;
	StringInfoData key;
	ProgramNode node = {0};
	int			number;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();

	initStringInfo(&key);
	appendStringInfo(&key, "node:%s:", scope == NULL ? "" : scope->prefix);
	predicate_print(&key, ast);
	number = lookup(program, key.data);
	if (number >= 0)
	{
		program->nodes[number].shared = true;
		pfree(key.data);
		return number;
	}

	node.tag = ast->tag;
	node.op = ast->op;
	node.negated = ast->negated;
	node.nliterals = ast->nliterals;
	node.literals = ast->literals;
	node.moments = literal_moments(program, ast->nliterals, ast->literals);
	if (ast->tag == AST_IN_LIST || ast->tag == AST_CONTAINS)
		node.index = literal_index(program, node.nliterals, node.literals, node.moments);
	node.events = node.window = node.sums = node.column = node.anniversary = -1;
	node.ast = ast;
	if (ast->span != NULL)
	{
		node.has_span = true;
		node.span = ast->span->interval;
	}

	node.nargs = ast->nargs;
	node.args = MemoryContextAlloc(program->context, sizeof(int) * Max(ast->nargs, 1));
	for (int i = 0; i < ast->nargs; i++)
	{
		node.args[i] = compile(compiler, ast->args[i], scope);
		node.timed |= program->nodes[node.args[i]].timed;
		node.outer |= program->nodes[node.args[i]].outer;
	}

	switch (ast->tag)
	{
		case AST_NAME:
			if (scope == NULL)
				node.slot = attribute_slot(program, ast->name);
			else
				node.property = property_ref(program, scope->kind, ast->name);
			break;
		case AST_CUSTOMER:
			node.slot = attribute_slot(program, ast->name);
			break;
		case AST_SAME:
			node.property = property_ref(program, scope->kind, ast->name);
			node.outer_property = property_ref(program, scope->outer->kind, ast->name);
			node.outer = true;
			break;
		case AST_HAS:
		case AST_MOMENT_OF:
			node.events = compile_events(compiler, ast->events);
			break;
		case AST_AGGREGATE:
			node.events = compile_events(compiler, ast->events);
			if (ast->op != AGG_COUNT)
			{
				int			set = program->events[node.events].set;

				node.property = property_ref(program, program->sets[set].kind, ast->events->property);
				if (ast->op == AGG_SUM || ast->op == AGG_AVG)
					node.sums = compile_sums(program, set, node.property);
				else if (ast->op != AGG_FIRST && ast->op != AGG_LAST)
					node.column = compile_column(program, set, node.property);
			}
			break;
		case AST_FOLLOWED:
			node.events = compile_set(compiler, ast->events, scope);
			node.timed = true;

			/* the filter's outer event is the one these brackets are about; what is beyond it cannot be seen */
			break;
		case AST_IN_WINDOW:
			node.window = compile_window(program, ast->window);
			node.timed = true;
			compile_anniversary(program, &node);
			break;
		case AST_IN_SEGMENT:
			number = compile_segment(compiler, ast, &node);
			break;
		default:
			break;
	}

	if (number < 0)
	{
		number = program->nnodes;
		APPEND(program, program->nodes, program->nnodes);
		program->nodes[number] = node;
	}
	else
		program->nodes[number].shared = true;
	remember(program, key.data, number);
	pfree(key.data);
	return number;
}

int
program_add(Program *program, AstNode *tree, SegmentResolver resolver, void *context)
{
	Compiler	compiler = {program, resolver, context, 0};
	MemoryContext old = MemoryContextSwitchTo(program->context);
	int			root = compile(&compiler, tree, NULL);

	MemoryContextSwitchTo(old);
	return root;
}
