-- Normal forms of phone numbers and e-mail addresses. They are in a library of their own, so that no session loads what
-- they need without calling them.

CREATE FUNCTION crm.normalize_phone(phone text, country text DEFAULT NULL) RETURNS text
	AS '$libdir/crm_marketing_address', 'crm_address_normalize_phone'
	LANGUAGE C STABLE PARALLEL SAFE
	COST 2000;
COMMENT ON FUNCTION crm.normalize_phone(text, text) IS
'a phone number in the form of E.164, such as +79161234567; NULL for NULL. A number without + is read as one dials it in the country, two letters of ISO 3166 (NULL: crm.country()). It must be valid there by libphonenumber; one with + need only have as many digits as the numbers of its country, because a server''s library does not know the newest ones. Digits may be of any script; what stands before the first digit or +, and an extension (ext. 12) are dropped. Errors: 22023 not a valid phone number, unknown country; 0A000 a number without + in a build without libphonenumber';

CREATE FUNCTION crm.normalize_email(email text) RETURNS text
	AS '$libdir/crm_marketing_address', 'crm_address_normalize_email'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	COST 10;
COMMENT ON FUNCTION crm.normalize_email(text) IS
'an e-mail address with A to Z in small letters and the domain in its ASCII form (IDNA 2008), without blanks at its ends; NULL for NULL. Only an address that people are given is valid: no quoting, no comments, no name beside it, a domain of two labels or more. Error 22023 for any other';

CREATE FUNCTION crm.normal_form(namespace text, value text, country text DEFAULT NULL) RETURNS text
	AS '$libdir/crm_marketing_address', 'crm_address_normal_form'
	LANGUAGE C STABLE PARALLEL SAFE
	COST 2000;
COMMENT ON FUNCTION crm.normal_form(text, text, text) IS
'an identity''s value as it is compared: that of namespace phone as by crm.normalize_phone, that of email as by crm.normalize_email, any other without blanks at its ends; NULL when it is not valid or empty, or has no form in UTF-8, and when namespace or value is NULL. No value is an error. The country is that of phone numbers without +; NULL, or what is no country, means that none is known: crm.country() is not asked, so that a statement over many rows asks it once and passes it';
