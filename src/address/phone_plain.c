/*-------------------------------------------------------------------------
 *
 * phone_plain.c
 *	  The E.164 form of a phone number, in a build without libphonenumber.
 *
 * Nothing is known of the countries' numbers, so only what needs no knowledge
 * is taken: "+" and 7 to 15 digits, between which separators may stand.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "address/phone.h"

#define MIN_DIGITS	7
#define MAX_DIGITS	15

PhoneStatus
address_phone_normal_form(const char *text, size_t len, const char *country, char result[PHONE_RESULT_SIZE])
{
	size_t		used = 0;
	bool		international = false;

	(void) country;

	if (len > PHONE_MAX_INPUT)
		return PHONE_TOO_LONG;

	for (size_t i = 0; i < len; i++)
	{
		char		c = text[i];

		if (c >= '0' && c <= '9')
		{
			if (used <= MAX_DIGITS)
				result[1 + used] = c;
			used++;
		}
		else if (c == '+' && used == 0 && !international)
			international = true;
		else if (c == '\0' || strchr(" \t()-./", c) == NULL)
			return PHONE_NOT_A_NUMBER;
	}
	if (used == 0)
		return PHONE_NOT_A_NUMBER;
	if (!international)
		return PHONE_NOT_SUPPORTED;
	/* No calling code begins so */
	if (result[1] == '0')
		return PHONE_NO_CALLING_CODE;
	if (used < MIN_DIGITS)
		return PHONE_TOO_SHORT;
	if (used > MAX_DIGITS)
		return PHONE_TOO_LONG;

	result[0] = '+';
	result[1 + used] = '\0';
	return PHONE_OK;
}
