/*
 * rfm_population_io.c
 *		A population outside its backend: on disk, between parallel workers, in binary and as text.
 *
 * All four are the same bytes, which know no byte order. Customers ascend, so that an id is a small difference; an instant is
 * its distance to the last one of all, in seconds where all are whole; numbers are varints. A million customers counted by
 * rows take about 12 MB. Equal populations give equal bytes.
 *
 *		version		byte, 1
 *		counting	byte, RfmCounting
 *		unit		byte, of instants: 0 microseconds, 1 seconds
 *		zone		byte length, bytes; of length 0 unless counted by days
 *		scale		varint, of the sums
 *		customers	varint, how many
 *		base		signed, the last instant of all, in units
 *		customers:
 *			id		signed for the first one, then varint distance to the one before, less 1
 *			last	varint distance to base, in units
 *			amount	see below; counted by rows the total, else 0 without digits
 *			count	varint: orders; counted otherwise how many keys follow
 *			keys	descending; the first signed (days) or as varint distance to base (orders, in units), the others as
 *					varint distance to the one before, less 1; each with its amount
 *		amount:		varint, twice the scale that is shown, plus 1 if it is written as text; then the number at the scale of the
 *					sums, signed, or varint length and digits
 *
 * A varint is 7 bits to a byte, lowest first, the top bit set in all but the last; a signed one is zigzag coded.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "score/rfm_bytes.h"
#include "score/rfm_population_private.h"
#include "score/wire.h"

#define FORMAT_VERSION 1
#define MAX_ZONE 255

PG_FUNCTION_INFO_V1(crm_score_population_in);
PG_FUNCTION_INFO_V1(crm_score_population_out);
PG_FUNCTION_INFO_V1(crm_score_population_recv);
PG_FUNCTION_INFO_V1(crm_score_population_send);

/*
 * Coding.
 */

static void
put_text(ByteWriter *writer, Decimal value)
{
	StringInfoData text;

	initStringInfo(&text);
	decimal_append(&text, value);
	put_varint64(writer, text.len);
	put_bytes(writer, text.data, text.len);
	pfree(text.data);
}

/* Written as text only where it must be, so that equal amounts are equal bytes however they came about. */
static void
put_amount(ByteWriter *writer, const RfmPopulation *population, Decimal amount, int shown)
{
	int64		mantissa;

	if (amount.scale != DECIMAL_BIG && amount.scale <= population->scale &&
		!__builtin_mul_overflow(amount.u.mantissa, rfm_power_of_ten[population->scale - amount.scale], &mantissa))
	{
		put_varint64(writer, (uint64) shown << 1);
		put_signed(writer, mantissa);
		return;
	}
	put_varint64(writer, (uint64) shown << 1 | 1);
	put_text(writer, amount);
}

static void
put_keys(ByteWriter *writer, const RfmPopulation *population, uint32 index, TimestampTz base, int64 unit)
{
	uint32		count;
	const RfmKey *keys = rfm_population_keys(population, index, &count);

	put_varint64(writer, count);
	for (uint32 i = count; i-- > 0;)
	{
		Decimal		amount = rfm_population_amount(population, &keys[i]);

		if (population->counting == RFM_BY_DAYS)
		{
			if (i == count - 1)
				put_signed(writer, keys[i].key);
			else
				put_varint64(writer, (uint64) keys[i + 1].key - (uint64) keys[i].key - 1);
		}
		else if (i == count - 1)
			put_varint64(writer, ((uint64) base - (uint64) keys[i].key) / unit);
		else
			put_varint64(writer, ((uint64) keys[i + 1].key - (uint64) keys[i].key) / unit - 1);
		put_amount(writer, population, keys[i].wide != 0 ? decimal_strip(amount) : amount, 0);
	}
}

static int64
instants_unit(const RfmPopulation *population)
{
	for (uint32 i = 0; i < population->ncustomers; i++)
	{
		if (population->customers[i].last % USECS_PER_SEC != 0)
			return 1;
	}
	if (population->counting == RFM_BY_ORDERS)
	{
		for (Size i = 0; i < population->nkeys; i++)
		{
			if (population->keys[i].key % USECS_PER_SEC != 0)
				return 1;
		}
	}
	return USECS_PER_SEC;
}

static void
encode(RfmPopulation *population, ByteWriter *writer)
{
	uint32	   *order;
	TimestampTz base = 0;
	int64		unit;
	int64		previous = 0;

	rfm_population_finish(population);
	order = rfm_population_order(population);
	unit = instants_unit(population);
	for (uint32 i = 0; i < population->ncustomers; i++)
	{
		if (i == 0 || population->customers[i].last > base)
			base = population->customers[i].last;
	}

	put_byte(writer, FORMAT_VERSION);
	put_byte(writer, population->counting);
	put_byte(writer, unit == USECS_PER_SEC ? 1 : 0);
	put_byte(writer, strlen(population->zone));
	put_bytes(writer, population->zone, strlen(population->zone));
	put_varint64(writer, population->scale);
	put_varint64(writer, population->ncustomers);
	put_signed(writer, base / unit);
	for (uint32 i = 0; i < population->ncustomers; i++)
	{
		const RfmCustomer *customer = &population->customers[order[i]];
		int			shown = rfm_shown_scale(population, order[i]);

		if ((i & 0xffff) == 0)
			CHECK_FOR_INTERRUPTS();
		if (i == 0)
			put_signed(writer, customer->customer);
		else
			put_varint64(writer, (uint64) customer->customer - (uint64) previous - 1);
		previous = customer->customer;
		put_varint64(writer, ((uint64) base - (uint64) customer->last) / unit);
		if (population->counting == RFM_BY_ROWS)
		{
			put_amount(writer, population, rfm_population_total(population, order[i]), shown);
			put_varint64(writer, customer->count);
		}
		else
		{
			put_amount(writer, population, decimal_from_int64(0), shown);
			put_keys(writer, population, order[i], base, unit);
		}
	}
	pfree(order);
}

/* The bytes of a population, which keeps them. */
static const char *
population_bytes(RfmPopulation *population, Size *size)
{
	if (population->npending > 0 || population->flat == NULL)
	{
		ByteWriter	writer;

		writer_init(&writer, population->context, "population",
					"Aggregate fewer customers at a time, by a hash of the customer.");
		encode(population, &writer);
		population->flat = writer.data;
		population->flat_size = writer.size;
	}
	*size = population->flat_size;
	return population->flat;
}

static Size
get_flat_size(ExpandedObjectHeader *header)
{
	Size		size;

	(void) population_bytes((RfmPopulation *) header, &size);
	return size + VARHDRSZ;
}

static void
flatten_into(ExpandedObjectHeader *header, void *result, Size allocated_size)
{
	Size		size;
	const char *bytes = population_bytes((RfmPopulation *) header, &size);

	Assert(allocated_size == size + VARHDRSZ);
	SET_VARSIZE(result, allocated_size);
	memcpy(VARDATA(result), bytes, size);
}

const ExpandedObjectMethods rfm_population_methods = {
	get_flat_size,
	flatten_into
};

/*
 * Decoding. Nothing is trusted.
 */

static void
invalid(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
			 errmsg("invalid binary form of type %s", "crm.population")));
}

/* base, less so many units; an instant that timestamps reach */
static TimestampTz
instant_before(TimestampTz base, uint64 distance, int64 unit)
{
	uint64		step;

	if (__builtin_mul_overflow(distance, (uint64) unit, &step) || step > (uint64) base - (uint64) MIN_TIMESTAMP)
		invalid();
	return (TimestampTz) ((uint64) base - step);
}

/*
 * An amount, and whether it is written as text: then it belongs beside the sums, whatever its size. *shown is the scale that
 * goes with it, and must be no less than the text has.
 */
static Decimal
get_amount(ByteReader *reader, const RfmPopulation *population, bool *is_text, int *shown)
{
	uint64		head = get_varint64(reader);
	uint64		length;
	Decimal		amount;

	if (head >> 1 > RFM_MAX_SHOWN_SCALE)
		invalid();
	*shown = (int) (head >> 1);
	*is_text = (head & 1) != 0;
	if (!*is_text)
	{
		amount.u.mantissa = get_signed(reader);
		amount.scale = population->scale;
		return amount;
	}
	length = get_varint64(reader);
	if (length > reader->size || !decimal_from_string(get_bytes(reader, length), (int) length, &amount))
		invalid();
	return amount;
}

static int
scale_of(Decimal amount)
{
	if (amount.scale != DECIMAL_BIG)
		return amount.scale;
	return DatumGetInt32(DirectFunctionCall1(numeric_scale, NumericGetDatum(amount.u.numeric)));
}

/*
 * Adds to the customer's total; no digit may lie beyond the scale at which it will be shown.
 */
static void
add_amount(RfmPopulation *population, uint32 index, Decimal amount, bool is_text, int shown)
{
	if (is_text)
	{
		if (scale_of(amount) > shown)
			invalid();
		rfm_population_add_beside(population, index, amount);
		return;
	}
	if (shown < population->scale && amount.u.mantissa % rfm_power_of_ten[population->scale - shown] != 0)
		invalid();
	amount.u.mantissa /= rfm_power_of_ten[Max(population->scale - shown, 0)];
	amount.scale = Min(population->scale, shown);
	rfm_population_add_sum(population, index, amount);
}

static void
get_keys(ByteReader *reader, RfmPopulation *population, uint32 index, TimestampTz base, int64 unit, int shown)
{
	uint64		count = get_varint64(reader);
	int64		key = 0;

	if (count == 0 || count > reader->size)
		invalid();
	for (uint64 i = 0; i < count; i++)
	{
		Decimal		amount;
		bool		is_text;
		int			unused;

		if ((i & 0xffff) == 0)
			CHECK_FOR_INTERRUPTS();
		if (population->counting == RFM_BY_ORDERS)
		{
			uint64		distance = get_varint64(reader);

			if (i > 0 && ++distance == 0)
				invalid();
			key = instant_before(i == 0 ? base : key, distance, unit);
		}
		else if (i == 0)
			key = get_signed(reader);
		else
		{
			uint64		distance = get_varint64(reader);

			if (distance > PG_INT32_MAX)
				invalid();
			key -= (int64) distance + 1;
		}
		if (population->counting == RFM_BY_DAYS &&
			(key < DATETIME_MIN_JULIAN - POSTGRES_EPOCH_JDATE || key >= DATE_END_JULIAN - POSTGRES_EPOCH_JDATE))
			invalid();
		amount = get_amount(reader, population, &is_text, &unused);
		add_amount(population, index, amount, is_text, shown);
		if (is_text)
		{
			rfm_population_add_key(population, index, key, decimal_from_int64(0));
			rfm_add_wide(population, &population->keys[population->nkeys - 1].wide, amount);
		}
		else
			rfm_population_add_key(population, index, key, amount);
	}
}

RfmPopulation *
rfm_population_decode(MemoryContext parent, const char *data, Size size)
{
	ByteReader	reader;
	RfmPopulation *population;
	int			counting;
	int			unit_code;
	int64		unit;
	int			zone_length;
	char		zone[MAX_ZONE + 1];
	uint64		scale;
	uint64		count;
	TimestampTz base;
	int64		customer = 0;

	reader_init(&reader, data, size, "crm.population");
	if (get_byte(&reader) != FORMAT_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("unsupported version of type %s", "crm.population")));
	counting = get_byte(&reader);
	unit_code = get_byte(&reader);
	zone_length = get_byte(&reader);
	if (counting > RFM_BY_DAYS || unit_code > 1 || (zone_length > 0) != (counting == RFM_BY_DAYS))
		invalid();
	memcpy(zone, get_bytes(&reader, zone_length), zone_length);
	zone[zone_length] = '\0';
	if (strlen(zone) != (size_t) zone_length)
		invalid();
	(void) pg_verifymbstr(zone, zone_length, false);
	unit = unit_code == 1 ? USECS_PER_SEC : 1;
	scale = get_varint64(&reader);
	count = get_varint64(&reader);
	if (scale > DECIMAL_MAX_SCALE || count > size)
		invalid();
	if (__builtin_mul_overflow(get_signed(&reader), unit, &base) || !IS_VALID_TIMESTAMP(base))
		invalid();

	/* An unknown zone is found out here, by the error of those who look for it. */
	population = rfm_population_create(parent, (RfmCounting) counting, zone);
	population->scale = (int) scale;
	for (uint64 i = 0; i < count; i++)
	{
		TimestampTz last;
		Decimal		amount;
		bool		is_text;
		int			shown;
		uint32		index;

		if ((i & 0xffff) == 0)
			CHECK_FOR_INTERRUPTS();
		if (i == 0)
			customer = get_signed(&reader);
		else
		{
			uint64		distance = get_varint64(&reader);

			if (distance >= (uint64) PG_INT64_MAX - (uint64) customer)
				invalid();
			customer = (int64) ((uint64) customer + distance + 1);
		}
		last = instant_before(base, get_varint64(&reader), unit);
		index = rfm_population_append(population, customer, last, 0);
		amount = get_amount(&reader, population, &is_text, &shown);
		if (counting == RFM_BY_ROWS)
		{
			uint64		orders = get_varint64(&reader);

			if (orders == 0 || orders > PG_UINT32_MAX)
				invalid();
			population->customers[index].count = (uint32) orders;
			add_amount(population, index, amount, is_text, shown);
		}
		else
			get_keys(&reader, population, index, base, unit, shown);
		rfm_show_scale(population, index, shown);
	}
	if (reader.position != size)
		invalid();
	return population;
}

Datum
crm_score_population_recv(PG_FUNCTION_ARGS)
{
	StringInfo	message = (StringInfo) PG_GETARG_POINTER(0);
	Size		size = message->len - message->cursor;

	PG_RETURN_DATUM(rfm_population_datum(rfm_population_decode(CurrentMemoryContext,
															   pq_getmsgbytes(message, (int) size), size)));
}

Datum
crm_score_population_send(PG_FUNCTION_ARGS)
{
	Size		size;
	const char *bytes = population_bytes(rfm_population_from_datum(PG_GETARG_DATUM(0)), &size);

	PG_RETURN_BYTEA_P(bytes_to_bytea(bytes, size));
}

Datum
crm_score_population_in(PG_FUNCTION_ARGS)
{
	Size		size;
	const char *bytes = wire_from_hex(PG_GETARG_CSTRING(0), &size);

	if (bytes == NULL)
		crm_ereturn(crm_escontext(fcinfo), (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s", "crm.population"),
					 errdetail("It is \\x and the bytes of the binary form in hexadecimal.")));
	PG_RETURN_DATUM(rfm_population_datum(rfm_population_decode(CurrentMemoryContext, bytes, size)));
}

Datum
crm_score_population_out(PG_FUNCTION_ARGS)
{
	Size		size;
	const char *bytes = population_bytes(rfm_population_from_datum(PG_GETARG_DATUM(0)), &size);

	PG_RETURN_CSTRING(wire_to_hex(bytes, size));
}
