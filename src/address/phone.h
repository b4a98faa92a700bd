/*-------------------------------------------------------------------------
 *
 * phone.h
 *	  The E.164 form of a phone number.
 *
 * Two files offer it, and the Makefile takes one: phone.cc by libphonenumber,
 * and phone_plain.c, which knows no countries, for make with_phonenumber=no.
 *
 * The border between PostgreSQL and C++: neither side includes the other's
 * headers, and neither an exception nor a longjmp crosses it.  That is why
 * the result goes into the caller's buffer, and why what is wrong is a value
 * and not an error.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CRM_PHONE_H
#define CRM_PHONE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C"
{
#endif

/* In bytes.  libphonenumber reads no more than 250 characters. */
#define PHONE_MAX_INPUT		250

/* "+", the digits, and the 0: those of E.164 are at most 15, but a few numbers in Germany are longer */
#define PHONE_RESULT_SIZE	32

typedef enum PhoneStatus
{
	PHONE_OK,
	PHONE_UNKNOWN_COUNTRY,		/* no such country */
	PHONE_NO_COUNTRY,			/* a national number, and no country given */
	PHONE_NOT_SUPPORTED,		/* a national number, and a build without libphonenumber */
	PHONE_NOT_A_NUMBER,
	PHONE_HAS_LETTERS,
	PHONE_NO_CALLING_CODE,		/* what follows + is no country's */
	PHONE_TOO_SHORT,
	PHONE_TOO_LONG,
	PHONE_NO_SUCH_LENGTH,		/* between the shortest and the longest of the country's */
	PHONE_LOCAL_ONLY,			/* the area code is missing */
	PHONE_NOT_VALID,			/* of a good length, but in no range of the country's */
	PHONE_NO_MEMORY,
	PHONE_FAILED				/* the library failed in an unforeseen way */
} PhoneStatus;

/*
 * Reads a number in UTF-8, without a 0 at its end.  The country is two
 * capital letters, or NULL when none is known.  The result is set with
 * PHONE_OK only.
 */
extern PhoneStatus address_phone_normal_form(const char *text, size_t len, const char *country,
											 char result[PHONE_RESULT_SIZE]);

#ifdef __cplusplus
}
#endif

#endif							/* CRM_PHONE_H */
