/*-------------------------------------------------------------------------
 *
 * email.c
 *	  The normal form of an e-mail address.
 *
 * The domain is brought to its ASCII form by libidn2 (IDNA 2008, with the
 * mapping of UTS 46, non-transitional), so that both ways of writing it are
 * one.  Of the local part only A to Z become small: what its other characters
 * mean is the receiving server's affair, but none tells Anna from anna.
 *
 * Stricter than RFC 5322, which has comments, quoting and address literals:
 * what a shop is given for a customer's address and needs those is a slip.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#if !__has_include(<idn2.h>)
#error "libidn2's headers are missing: install them (Debian: libidn2-dev)"
#endif
#include <idn2.h>

#include "mb/pg_wchar.h"

#include "address/email.h"

/* More than any address with a domain of 253 bytes in ASCII has in UTF-8 */
#define MAX_INPUT	1024
#define MAX_LOCAL	64
#define MAX_DOMAIN	253
#define MAX_LABEL	63

#define LOOKS_LIKE	"An address looks like anna@example.org."

static bool
flawed(EmailFlaw *flaw, const char *detail, const char *hint)
{
	flaw->detail = detail;
	flaw->hint = hint;
	return false;
}

/* A blank, or what cannot be seen, beyond ASCII */
static bool
is_invisible(pg_wchar c)
{
	return (c >= 0x80 && c <= 0xA0) ||	/* controls, no-break space */
		c == 0xAD ||			/* soft hyphen */
		c == 0x1680 ||			/* Ogham's space */
		(c >= 0x2000 && c <= 0x200F) || /* spaces, of no width too, and marks of direction */
		(c >= 0x2028 && c <= 0x202F) || /* separators, directions, narrow space */
		(c >= 0x205F && c <= 0x206F) || /* space, joiners, directions */
		c == 0x3000 ||			/* ideographic space */
		c == 0xFEFF;			/* byte order mark */
}

static bool
check_local(const char *local, int len, EmailFlaw *flaw)
{
	if (len == 0)
		return flawed(flaw, "Nothing stands before the @.", LOOKS_LIKE);
	if (memchr(local, '"', len) != NULL)
		return flawed(flaw, "What stands before the @ is quoted, which is not supported.", LOOKS_LIKE);
	if (len > MAX_LOCAL)
		return flawed(flaw, "What stands before the @ is longer than 64 bytes.",
					  "No mail server need take longer ones.");

	for (int i = 0; i < len;)
	{
		const unsigned char *c = (const unsigned char *) local + i;

		if (*c <= ' ' || *c == 0x7F || (IS_HIGHBIT_SET(*c) && is_invisible(utf8_to_unicode(c))))
			return flawed(flaw, "There is a blank or a control character before the @.", LOOKS_LIKE);
		if (strchr("(),:;[\\]", *c) != NULL)
			return flawed(flaw, "There is a character before the @ that only a quoted address may have.",
						  LOOKS_LIKE);
		if (*c == '.' && (i == 0 || i == len - 1 || local[i - 1] == '.'))
			return flawed(flaw, "What stands before the @ begins or ends with a dot, or has two in a row.",
						  LOOKS_LIKE);
		i += pg_utf_mblen(c);
	}
	return true;
}

static void
lower_ascii(char *text)
{
	for (; *text != '\0'; text++)
	{
		if (*text >= 'A' && *text <= 'Z')
			*text += 'a' - 'A';
	}
}

/* Is it all ASCII, without a label that claims to stand for another one? */
static bool
is_plain(const char *domain)
{
	for (const char *c = domain; *c != '\0'; c++)
	{
		if (IS_HIGHBIT_SET(*c))
			return false;
		if ((c == domain || c[-1] == '.') && pg_strncasecmp(c, "xn--", 4) == 0)
			return false;
	}
	return true;
}

/* Brings a domain, in a buffer of MAX_DOMAIN + 1, to ASCII */
static bool
domain_to_ascii(const char *domain, char *result, EmailFlaw *flaw)
{
	char	   *ascii = NULL;
	int			rc;

	rc = idn2_to_ascii_8z(domain, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
	if (rc == IDN2_OK && strlen(ascii) > MAX_DOMAIN)
		rc = IDN2_TOO_BIG_DOMAIN;
	if (rc == IDN2_OK)
		strlcpy(result, ascii, MAX_DOMAIN + 1);
	/* not palloc'd: nothing may throw in between */
	idn2_free(ascii);

	/* Our own words: the library's are in the language of the server's environment */
	switch (rc)
	{
		case IDN2_OK:
			return true;
		case IDN2_MALLOC:
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("out of memory")));
			break;
		case IDN2_TOO_BIG_DOMAIN:
			return flawed(flaw, "The domain is longer than 253 bytes in its ASCII form.",
						  "No domain name is longer.");
		case IDN2_TOO_BIG_LABEL:
		case IDN2_PUNYCODE_BIG_OUTPUT:
			return flawed(flaw, "A label of the domain is longer than 63 bytes in its ASCII form.",
						  "No label of a domain name is longer.");
		case IDN2_PUNYCODE_BAD_INPUT:
		case IDN2_INVALID_ALABEL:
		case IDN2_UALABEL_MISMATCH:
			return flawed(flaw, "A label of the domain begins with xn-- and stands for no other one.",
						  LOOKS_LIKE);
		case IDN2_HYPHEN_STARTEND:
			return flawed(flaw, "A label of the domain begins or ends with a hyphen.", LOOKS_LIKE);
		default:
			break;
	}
	return flawed(flaw, "The domain is not one that IDNA 2008 allows.",
				  "A label has letters, digits and hyphens that go together, and no symbols.");
}

/* Is it the name of a host, in small letters? */
static bool
check_domain(const char *domain, EmailFlaw *flaw)
{
	const char *label = domain;
	int			nlabels = 0;

	for (;;)
	{
		size_t		len = strcspn(label, ".");

		if (len == 0)
			return flawed(flaw, "The domain begins or ends with a dot, or has two in a row.", LOOKS_LIKE);
		if (strspn(label, "abcdefghijklmnopqrstuvwxyz0123456789-") < len)
			return flawed(flaw, "There is a character in the domain that no domain name has.", LOOKS_LIKE);
		if (len > MAX_LABEL)
			return flawed(flaw, "A label of the domain is longer than 63 bytes.",
						  "No label of a domain name is longer.");
		if (label[0] == '-' || label[len - 1] == '-')
			return flawed(flaw, "A label of the domain begins or ends with a hyphen.", LOOKS_LIKE);
		nlabels++;
		if (label[len] == '\0')
			break;
		label += len + 1;
	}
	if (nlabels < 2)
		return flawed(flaw, "The domain has only one label.",
					  "Write it in full, such as example.org.");
	/* That of 192.0.2.1, too */
	if (label[strspn(label, "0123456789")] == '\0')
		return flawed(flaw, "The last label of the domain is a number.", LOOKS_LIKE);
	return true;
}

char *
address_email_normal_form(const char *text, int len, EmailFlaw *flaw)
{
	const char *at;
	char	   *domain;
	char		ascii[MAX_DOMAIN + 1];
	char	   *result;
	int			local_len;

	flaw->detail = NULL;
	flaw->hint = NULL;

	if (len == 0)
	{
		flawed(flaw, "It is empty.", LOOKS_LIKE);
		return NULL;
	}
	if (len > MAX_INPUT)
	{
		flawed(flaw, "It is longer than 1024 bytes.", LOOKS_LIKE);
		return NULL;
	}
	if (memchr(text, '<', len) != NULL || memchr(text, '>', len) != NULL)
	{
		flawed(flaw, "There are angle brackets in it.",
			   "Give the address alone, without a name beside it.");
		return NULL;
	}
	at = memchr(text, '@', len);
	if (at == NULL)
	{
		flawed(flaw, "There is no @ in it.", LOOKS_LIKE);
		return NULL;
	}
	local_len = at - text;
	if (text[0] != '"' && memchr(at + 1, '@', len - local_len - 1) != NULL)
	{
		flawed(flaw, "There is more than one @ in it.", "Give one address.");
		return NULL;
	}
	if (!check_local(text, local_len, flaw))
		return NULL;

	domain = pnstrdup(at + 1, len - local_len - 1);
	if (domain[0] == '\0')
	{
		flawed(flaw, "Nothing stands after the @.", LOOKS_LIKE);
		return NULL;
	}
	if (!is_plain(domain))
	{
		if (!domain_to_ascii(domain, ascii, flaw))
			return NULL;
	}
	else if (strlcpy(ascii, domain, sizeof(ascii)) >= sizeof(ascii))
	{
		flawed(flaw, "The domain is longer than 253 bytes.", "No domain name is longer.");
		return NULL;
	}
	lower_ascii(ascii);
	if (!check_domain(ascii, flaw))
		return NULL;

	result = psprintf("%.*s@%s", local_len, text, ascii);
	lower_ascii(result);
	return result;
}
