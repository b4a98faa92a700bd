/*-------------------------------------------------------------------------
 *
 * phone.cc
 *	  The E.164 form of a phone number, by libphonenumber.
 *
 * Which numbers are valid changes every few weeks, and a server's library is
 * as old as its distribution.  So a number in international form need only be
 * possible, that is, of a length that the country's numbers have; one in
 * national form must be valid, or else a word of digits would become a
 * customer's phone.
 *
 * No function of PostgreSQL is called in here, and no exception leaves: see
 * phone.h.
 *
 *-------------------------------------------------------------------------
 */
#if !__has_include(<phonenumbers/phonenumberutil.h>)
#error "libphonenumber's headers are missing: install them (Debian: libphonenumber-dev), or make with_phonenumber=no"
#endif

#include <cstring>
#include <new>
#include <string>

#include <phonenumbers/phonenumber.pb.h>
#include <phonenumbers/phonenumberutil.h>

#include "address/phone.h"

using i18n::phonenumbers::PhoneNumber;
using i18n::phonenumbers::PhoneNumberUtil;

/* What libphonenumber takes for the country of a number with + when there is none */
static const char *const NO_REGION = "ZZ";

/* A number in order is read once or twice; one that begins with more noughts than that is none */
static const int MAX_READINGS = 5;

/* The plus sign of full width, which East Asian keyboards make, in UTF-8 */
static const char *const WIDE_PLUS = "\xEF\xBC\x8B";

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Does a plus sign come before any digit? */
static bool
is_international(const std::string &number)
{
	size_t		start = number.find_first_of("+0123456789");
	size_t		wide = number.find(WIDE_PLUS);

	if (wide != std::string::npos && (start == std::string::npos || wide < start))
		return true;
	return start != std::string::npos && number[start] == '+';
}

/*
 * Takes the separators out of a number that has nothing but them and ASCII
 * digits.  libphonenumber would do the same, by regular expressions that take
 * twice the time of all the rest.
 */
static void
compact(std::string &number)
{
	std::string digits;

	for (char c : number)
	{
		if (is_digit(c) || (c == '+' && digits.empty()))
			digits += c;
		else if (c == '\0' || std::strchr(" ()-.", c) == nullptr)
			return;
	}
	number = digits;
}

/*
 * Do letters stand for digits, or among them?  libphonenumber reads
 * 1-800-FLOWERS as on a telephone's keys, and drops a letter or two; but a
 * slip of the keyboard must not become another customer's number.  After the
 * first digit, letters may only announce an extension, whose digits are then
 * all that follow.
 */
static bool
has_letters(const PhoneNumberUtil *util, const std::string &text, const PhoneNumber &number)
{
	size_t		at = text.find_first_of("0123456789");
	std::string rest;
	std::string extension;

	if (at == std::string::npos)
		return false;
	while (at < text.size() && !is_letter(text[at]))
		at++;
	if (at == text.size())
		return false;

	rest = text.substr(at);
	extension = number.extension();
	util->NormalizeDigitsOnly(&rest);
	util->NormalizeDigitsOnly(&extension);
	return extension.empty() || rest != extension;
}

static PhoneStatus
parse(const PhoneNumberUtil *util, const std::string &text, const char *country, PhoneNumber *number)
{
	switch (util->Parse(text, country != nullptr ? country : NO_REGION, number))
	{
		case PhoneNumberUtil::NO_PARSING_ERROR:
			return PHONE_OK;
		case PhoneNumberUtil::INVALID_COUNTRY_CODE_ERROR:
			return country != nullptr || is_international(text) ? PHONE_NO_CALLING_CODE : PHONE_NO_COUNTRY;
		case PhoneNumberUtil::TOO_SHORT_AFTER_IDD:
		case PhoneNumberUtil::TOO_SHORT_NSN:
			return PHONE_TOO_SHORT;
		case PhoneNumberUtil::TOO_LONG_NSN:
			return PHONE_TOO_LONG;
		case PhoneNumberUtil::NOT_A_NUMBER:
			break;
	}
	return PHONE_NOT_A_NUMBER;
}

static PhoneStatus
check_length(const PhoneNumberUtil *util, const PhoneNumber &number)
{
	switch (util->IsPossibleNumberWithReason(number))
	{
		case PhoneNumberUtil::IS_POSSIBLE:
			return PHONE_OK;
		case PhoneNumberUtil::IS_POSSIBLE_LOCAL_ONLY:
			return PHONE_LOCAL_ONLY;
		case PhoneNumberUtil::INVALID_COUNTRY_CODE:
			return PHONE_NO_CALLING_CODE;
		case PhoneNumberUtil::TOO_SHORT:
			return PHONE_TOO_SHORT;
		case PhoneNumberUtil::TOO_LONG:
			return PHONE_TOO_LONG;
		case PhoneNumberUtil::INVALID_LENGTH:
			break;
	}
	return PHONE_NO_SUCH_LENGTH;
}

/* One reading of the number */
static PhoneStatus
format(const PhoneNumberUtil *util, const std::string &text, const char *country, std::string *formatted)
{
	PhoneNumber number;
	PhoneStatus status = parse(util, text, country, &number);

	if (status != PHONE_OK)
		return status;
	if (has_letters(util, text, number))
		return PHONE_HAS_LETTERS;
	/* Nothing but noughts is of a possible length, and the library has no form for it */
	if (number.national_number() == 0)
		return PHONE_NOT_A_NUMBER;

	if (is_international(text))
		status = check_length(util, number);
	else if (!util->IsValidNumber(number))
	{
		status = check_length(util, number);
		if (status == PHONE_OK)
			status = PHONE_NOT_VALID;
	}
	if (status == PHONE_OK)
		util->Format(number, PhoneNumberUtil::E164, formatted);
	return status;
}

static PhoneStatus
normal_form(std::string text, const char *country, char *result)
{
	const PhoneNumberUtil *util = PhoneNumberUtil::GetInstance();
	std::string formatted;

	if (country != nullptr && util->GetCountryCodeForRegion(country) == 0)
		return PHONE_UNKNOWN_COUNTRY;

	compact(text);

	/*
	 * A normal form must be its own, and what the library formats need not
	 * be: where it still begins as a domestic call does, the next reading
	 * takes that away.  So read on until nothing changes.
	 */
	for (int reading = 0; reading < MAX_READINGS; reading++)
	{
		PhoneStatus status = format(util, text, country, &formatted);

		if (status != PHONE_OK)
			return status;
		if (formatted.size() >= PHONE_RESULT_SIZE)
			return PHONE_TOO_LONG;
		if (formatted == text)
		{
			std::memcpy(result, formatted.c_str(), formatted.size() + 1);
			return PHONE_OK;
		}
		text = formatted;
	}
	return PHONE_NOT_VALID;
}

PhoneStatus
address_phone_normal_form(const char *text, size_t len, const char *country, char result[PHONE_RESULT_SIZE])
{
	if (len > PHONE_MAX_INPUT)
		return PHONE_TOO_LONG;
	try
	{
		return normal_form(std::string(text, len), country, result);
	}
	catch (const std::bad_alloc &)
	{
		return PHONE_NO_MEMORY;
	}
	catch (...)
	{
		return PHONE_FAILED;
	}
}
