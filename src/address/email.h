/*-------------------------------------------------------------------------
 *
 * email.h
 *	  The normal form of an e-mail address.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CRM_EMAIL_H
#define CRM_EMAIL_H

/* What is wrong with an address: the error's DETAIL, and its HINT */
typedef struct EmailFlaw
{
	const char *detail;
	const char *hint;
} EmailFlaw;

/*
 * Reads an address in UTF-8, without a 0 at its end.  The result is in UTF-8
 * too, palloc'd; NULL when the flaw is set.
 */
extern char *address_email_normal_form(const char *text, int len, EmailFlaw *flaw);

#endif							/* CRM_EMAIL_H */
