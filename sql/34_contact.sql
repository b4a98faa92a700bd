-- Contacts and consents: where somebody can be written to, and whether he agreed.
--
-- Addresses and statements are kept by the id that they came with. A person with several ids has agreed to what one of
-- them has agreed to and none of them has refused; and an address is used only if the one who came with it has agreed, or
-- the person has since they are one. So no merge makes anybody reachable who was not, and taking it back leaves each with
-- his own words.

CREATE TABLE crm.contact (
	customer_id	bigint NOT NULL,
	channel		text NOT NULL,
	address		text,
	source		text NOT NULL,
	set_at		timestamptz NOT NULL,
	PRIMARY KEY (customer_id, channel)
);
CREATE INDEX contact_address_idx ON crm.contact (address);
COMMENT ON TABLE crm.contact IS
'addresses that crm.set_contact() has stored; they go before what the customers'' feed says, which is in crm.identity';
COMMENT ON COLUMN crm.contact.customer_id IS 'whose; of a merged one, the id by which it came';
COMMENT ON COLUMN crm.contact.channel IS 'for which channel';
COMMENT ON COLUMN crm.contact.address IS 'the address, in its normal form; NULL: he has none there, whatever the feed says';
COMMENT ON COLUMN crm.contact.source IS 'where it is from, in the caller''s words';
COMMENT ON COLUMN crm.contact.set_at IS 'when it was stored';
COMMENT ON INDEX crm.contact_address_idx IS 'who has an address';

CREATE SEQUENCE crm.consent_id_seq;
COMMENT ON SEQUENCE crm.consent_id_seq IS 'numbers of the entries in crm.consent';

CREATE TABLE crm.consent (
	consent_id	bigint NOT NULL DEFAULT pg_catalog.nextval('crm.consent_id_seq'),
	customer_id	bigint NOT NULL,
	channel		text NOT NULL,
	purpose		text NOT NULL,
	granted		boolean NOT NULL,
	at			timestamptz NOT NULL,
	recorded_at	timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	source		text NOT NULL,
	proof		jsonb,
	PRIMARY KEY (customer_id, consent_id)
);
COMMENT ON TABLE crm.consent IS
'what people have agreed to and refused, a row for each statement: only ever added to, save by crm.erase_customer()';
COMMENT ON COLUMN crm.consent.consent_id IS 'number of the entry';
COMMENT ON COLUMN crm.consent.customer_id IS 'who; of a merged one, the id by which it came';
COMMENT ON COLUMN crm.consent.channel IS 'which channel; * of a refusal: all';
COMMENT ON COLUMN crm.consent.purpose IS 'which purpose; * of a refusal: all';
COMMENT ON COLUMN crm.consent.granted IS 'true: agreed; false: refused';
COMMENT ON COLUMN crm.consent.at IS 'when it was said: the later statement counts, of two at one instant the refusal';
COMMENT ON COLUMN crm.consent.recorded_at IS 'when it was stored, by the clock';
COMMENT ON COLUMN crm.consent.source IS 'where it is from, in the caller''s words';
COMMENT ON COLUMN crm.consent.proof IS 'what proves it: the text that was shown, the form, the address of the computer';

CREATE TABLE crm.suppression (
	address_hash	bytea NOT NULL,
	channel			text NOT NULL,
	at				timestamptz NOT NULL,
	reason			text,
	PRIMARY KEY (address_hash, channel)
);
COMMENT ON TABLE crm.suppression IS
'addresses that are not to be written to, whosever they are, now or later; hashes, so that they outlast the erasure of a person';
COMMENT ON COLUMN crm.suppression.address_hash IS 'crm.address_hash() of the address';
COMMENT ON COLUMN crm.suppression.channel IS 'on which channel; * on all';
COMMENT ON COLUMN crm.suppression.at IS 'since when';
COMMENT ON COLUMN crm.suppression.reason IS 'why, in the caller''s words';

SELECT pg_catalog.pg_extension_config_dump('crm.contact', '');
SELECT pg_catalog.pg_extension_config_dump('crm.consent_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('crm.consent', '');
SELECT pg_catalog.pg_extension_config_dump('crm.suppression', '');

CREATE FUNCTION crm.address_hash(kind text, address text) RETURNS bytea
	AS 'MODULE_PATHNAME', 'crm_customer_address_hash'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.address_hash(text, text) IS
'the hash by which an address is suppressed: SHA-256 of its kind (email, phone, ...), a colon and its normal form. NULL gives NULL';

CREATE FUNCTION crm.channel_kind(channel text) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	result text;
BEGIN
	IF channel_kind.channel IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'channel must not be null';
	END IF;
	SELECT c.kind INTO result FROM crm.channel AS c WHERE c.channel = channel_kind.channel;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('unknown channel "%s"', channel_kind.channel),
			DETAIL = format('There are: %s.', (SELECT string_agg(c.channel, ', ' ORDER BY c.channel) FROM crm.channel AS c)),
			HINT = 'crm.define_channel() makes others known.';
	END IF;
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.channel_kind(text) IS
'what kind of address a channel needs. Errors: 22004 NULL, 42704 unknown channel';

------------------------------------------------------------------------------------------------------------------
-- What is said
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.set_contact(customer_id bigint, channel text, address text, country text DEFAULT NULL,
								source text DEFAULT 'given', at timestamptz DEFAULT crm.now()) RETURNS text
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	kind CONSTANT text := crm.channel_kind(set_contact.channel);
	normal text;
BEGIN
	IF set_contact.customer_id IS NULL OR set_contact.source IS NULL OR set_contact.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'customer, source and instant must not be null';
	END IF;
	IF set_contact.address IS NOT NULL THEN
		normal := crm.identity_value(kind, set_contact.address, set_contact.country);
	END IF;
	PERFORM crm.refuse_erased(set_contact.customer_id, kind, normal);
	INSERT INTO crm.contact AS c (customer_id, channel, address, source, set_at)
	VALUES (set_contact.customer_id, set_contact.channel, normal, set_contact.source, set_contact.at)
	ON CONFLICT ON CONSTRAINT contact_pkey DO UPDATE
		SET address = excluded.address, source = excluded.source, set_at = excluded.set_at
		WHERE c.set_at <= excluded.set_at;
	PERFORM crm.touch(ARRAY[set_contact.customer_id], 'customer.contact');
	RETURN normal;
END
$function$;
COMMENT ON FUNCTION crm.set_contact(bigint, text, text, text, text, timestamptz) IS
'the address of a customer on a channel, which goes before what the customers'' feed says; NULL: he has none there. What was set at a later instant stays. Returns the address in its normal form. Errors: 42704 unknown channel, those of crm.identity_value() for an address that is none, 22004 NULL otherwise, 55000 the customer, or somebody who had the address, was erased';

CREATE FUNCTION crm.reset_contact(customer_id bigint, channel text) RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	DELETE FROM crm.contact AS c WHERE c.customer_id = reset_contact.customer_id AND c.channel = reset_contact.channel;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	PERFORM crm.touch(ARRAY[reset_contact.customer_id], 'customer.contact');
	RETURN true;
END
$function$;
COMMENT ON FUNCTION crm.reset_contact(bigint, text) IS
'forgets what crm.set_contact() has stored: the customers'' feed has the word again. False if there was nothing, as for NULL';

CREATE FUNCTION crm.check_purpose(purpose text) RETURNS void
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	IF check_purpose.purpose IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'purpose must not be null';
	ELSIF check_purpose.purpose !~ '^[a-z][a-z0-9_]*$' OR length(check_purpose.purpose) > 63 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('invalid purpose "%s"', check_purpose.purpose),
			DETAIL = 'Its name is of small letters, digits and underscores.';
	END IF;
END
$function$;
COMMENT ON FUNCTION crm.check_purpose(text) IS
'that something may be for this purpose, so that people can agree to it. Errors: 22004 NULL, 22023 invalid';

CREATE FUNCTION crm.record_consent(customer_id bigint, channel text, purpose text DEFAULT 'marketing',
								   granted boolean DEFAULT true, proof jsonb DEFAULT NULL, at timestamptz DEFAULT crm.now(),
								   source text DEFAULT 'given') RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	IF record_consent.customer_id IS NULL OR record_consent.channel IS NULL OR record_consent.purpose IS NULL
		OR record_consent.granted IS NULL OR record_consent.at IS NULL OR record_consent.source IS NULL
	THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'nothing but the proof of a consent may be null';
	END IF;
	IF record_consent.channel <> '*' THEN
		PERFORM crm.channel_kind(record_consent.channel);
	END IF;
	IF record_consent.granted AND (record_consent.channel = '*' OR record_consent.purpose = '*') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'a consent is given for one channel and one purpose',
			DETAIL = 'Only a refusal may be for all of them.',
			HINT = 'Record one consent for each that was agreed to.';
	END IF;
	IF record_consent.purpose <> '*' THEN
		PERFORM crm.check_purpose(record_consent.purpose);
	END IF;
	IF NOT isfinite(record_consent.at) OR record_consent.at > greatest(crm.now(), clock_timestamp()) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'a consent must be of the past',
			DETAIL = format('This one is of %s.', record_consent.at);
	END IF;
	-- An erased person has refused everything already
	IF NOT record_consent.granted AND EXISTS (SELECT FROM crm.erased_customer AS e
											   WHERE e.customer_id = record_consent.customer_id) THEN
		RETURN;
	END IF;
	PERFORM crm.refuse_erased(record_consent.customer_id);
	INSERT INTO crm.consent AS c (customer_id, channel, purpose, granted, at, source, proof)
	VALUES (record_consent.customer_id, record_consent.channel, record_consent.purpose, record_consent.granted, record_consent.at,
			record_consent.source, record_consent.proof);
	PERFORM crm.touch(ARRAY[record_consent.customer_id], 'customer.contact');
END
$function$;
COMMENT ON FUNCTION crm.record_consent(bigint, text, text, boolean, jsonb, timestamptz, text) IS
'records that a customer has agreed to be written to on a channel for a purpose, or (granted false) has refused; a refusal may be for all channels and purposes, *. What was said later counts; nothing is overwritten. proof is what proves it, for whoever asks. Errors: 22004 NULL other than the proof, 42704 unknown channel, 22023 a consent for *, an invalid purpose, or an instant ahead, 55000 a consent of a customer who was erased';

CREATE FUNCTION crm.unsubscribe(customer_id bigint, channel text DEFAULT '*', purpose text DEFAULT '*', proof jsonb DEFAULT NULL,
								at timestamptz DEFAULT crm.now(), source text DEFAULT 'unsubscribe') RETURNS void
	LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT crm.record_consent(unsubscribe.customer_id, unsubscribe.channel, unsubscribe.purpose, false, unsubscribe.proof,
							  unsubscribe.at, unsubscribe.source);
END;
COMMENT ON FUNCTION crm.unsubscribe(bigint, text, text, jsonb, timestamptz, text) IS
'a customer does not want to be written to: on a channel and for a purpose, or on all and for all. As crm.record_consent() with granted false; crm.suppress_address() does it by address';

-- Whoever has the address is touched
CREATE FUNCTION crm.touch_address(kind text, address text) RETURNS void
	LANGUAGE sql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT crm.touch(array_agg(o.customer_id), 'customer.contact')
	  FROM (SELECT i.customer_id FROM crm.identity AS i
			 WHERE i.namespace = touch_address.kind AND i.value = touch_address.address
			 UNION
			SELECT c.customer_id FROM crm.contact AS c
			 WHERE c.address = touch_address.address) AS o
	HAVING count(*) > 0;
END;
COMMENT ON FUNCTION crm.touch_address(text, text) IS
'captures that those who have an address can be written to there, or not any more';

CREATE FUNCTION crm.suppress_address(channel text, address text, reason text DEFAULT NULL, country text DEFAULT NULL,
									 at timestamptz DEFAULT crm.now()) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	kind CONSTANT text := crm.channel_kind(suppress_address.channel);
	normal CONSTANT text := crm.identity_value(kind, suppress_address.address, suppress_address.country);
BEGIN
	IF suppress_address.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'instant must not be null';
	END IF;
	INSERT INTO crm.suppression AS s (address_hash, channel, at, reason)
	VALUES (crm.address_hash(kind, normal), suppress_address.channel, suppress_address.at, suppress_address.reason)
	ON CONFLICT ON CONSTRAINT suppression_pkey DO NOTHING;
	PERFORM crm.touch_address(kind, normal);
END
$function$;
COMMENT ON FUNCTION crm.suppress_address(text, text, text, text, timestamptz) IS
'an address is not to be used on a channel, whosever it is, and whoever gets it later: do-not-call is suppress_address(''call'', ''+7...''), which binds the channel task too. It holds before and after a merge, and outlasts the person. Errors: 42704 unknown channel, those of crm.identity_value() for an address that is none, 22004 NULL';

CREATE FUNCTION crm.release_address(channel text, address text, country text DEFAULT NULL) RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	kind CONSTANT text := crm.channel_kind(release_address.channel);
	normal CONSTANT text := crm.identity_value(kind, release_address.address, release_address.country);
BEGIN
	DELETE FROM crm.suppression AS s
	 WHERE s.address_hash = crm.address_hash(kind, normal) AND s.channel = release_address.channel;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	PERFORM crm.touch_address(kind, normal);
	RETURN true;
END
$function$;
COMMENT ON FUNCTION crm.release_address(text, text, text) IS
'takes crm.suppress_address() back, because the owner of the address has asked for it; false if it was not suppressed on that channel. Errors: those of crm.suppress_address()';

------------------------------------------------------------------------------------------------------------------
-- What follows from it
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.contact_states(customers bigint[])
	RETURNS TABLE (customer_id bigint, channels text[], consents text[], reachable text[])
	AS 'MODULE_PATHNAME', 'crm_customer_contact_states'
	LANGUAGE C STABLE PARALLEL SAFE SECURITY DEFINER
	ROWS 1000
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crm.contact_states(bigint[]) IS
'what predicates see of customers'' contacts: channels (those on which there is an address), consents (a channel for any purpose, and channel:purpose), reachable (channels on which the customer may be written to for marketing: address, consent, and no suppression). A person has agreed to what one of his ids has agreed to, by its last word, and none has refused; a refusal of one id ends only by a consent given later, as one person. NULL: of all customers; an id that was merged is none. Error 22004 for a NULL among the customers';

CREATE FUNCTION crm.contact_rows(customers bigint[])
	RETURNS TABLE (customer_id bigint, id bigint, channel text, address text, purposes text[], suppressed boolean)
	AS 'MODULE_PATHNAME', 'crm_customer_contact_rows'
	LANGUAGE C STABLE PARALLEL SAFE
	ROWS 1000
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crm.contact_rows(bigint[]) IS
'the addresses of customers on each channel, of each of their ids (what crm.set_contact() has stored, else what the feed says), the purposes for which each may be used, and whether it is suppressed there. A consent covers the addresses of the id that gave it, and of those that were the same person''s by then. NULL: of all customers. Error 22004 for a NULL among the customers';

CREATE VIEW crm_feed."customer.contact" AS
	SELECT s.customer_id, s.channels, s.consents, s.reachable FROM crm.contact_states(NULL) AS s;
COMMENT ON VIEW crm_feed."customer.contact" IS 'channels, consents and reachable as attributes of customers; see crm.contact_states()';
COMMENT ON COLUMN crm_feed."customer.contact".customer_id IS 'customer';
COMMENT ON COLUMN crm_feed."customer.contact".channels IS 'channels on which he has an address';
COMMENT ON COLUMN crm_feed."customer.contact".consents IS 'what he has agreed to: channel, and channel:purpose';
COMMENT ON COLUMN crm_feed."customer.contact".reachable IS 'channels on which he may be written to for marketing';

CREATE VIEW crm_feed.unsubscribe AS
	SELECT c.customer_id, c.at, c.channel, c.purpose, c.source
	  FROM crm.consent AS c
	 WHERE NOT c.granted;
COMMENT ON VIEW crm_feed.unsubscribe IS 'refusals as events; see crm.consent';
COMMENT ON COLUMN crm_feed.unsubscribe.customer_id IS 'customer';
COMMENT ON COLUMN crm_feed.unsubscribe.at IS 'when';
COMMENT ON COLUMN crm_feed.unsubscribe.channel IS 'of which channel; * of all';
COMMENT ON COLUMN crm_feed.unsubscribe.purpose IS 'for which purpose; * for all';
COMMENT ON COLUMN crm_feed.unsubscribe.source IS 'where it is from';

INSERT INTO crm.source (kind, indexed, own, reader) VALUES
	('customer.contact', true, true, 'contact_states'), ('unsubscribe', true, true, NULL);

CREATE FUNCTION crm.contacts_of(customer_id bigint)
	RETURNS TABLE (channel text, address text, purposes text[], suppressed boolean, reachable boolean)
	LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT r.channel, r.address, r.purposes, r.suppressed, NOT r.suppressed AND 'marketing' = ANY (r.purposes)
	  FROM crm.contact_rows(ARRAY[crm.resolve_customer(contacts_of.customer_id)]) AS r
	 WHERE contacts_of.customer_id IS NOT NULL
	 ORDER BY r.channel, r.id <> r.customer_id, r.id;
END;
COMMENT ON FUNCTION crm.contacts_of(bigint) IS
'the addresses of a customer, of all his ids: for which purposes each may be used, whether it is suppressed there, and whether it may be written to for marketing. NULL has none';

CREATE FUNCTION crm.contact_for(customer_id bigint, channel text, purpose text DEFAULT 'marketing',
								OUT address text, OUT refusal text)
	LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	customer CONSTANT bigint := crm.resolve_customer(contact_for.customer_id);
	suppressed boolean;
	agreed boolean;
BEGIN
	PERFORM crm.channel_kind(contact_for.channel);
	SELECT r.address, r.suppressed, contact_for.purpose = ANY (r.purposes) INTO address, suppressed, agreed
	  FROM crm.contact_rows(ARRAY[customer]) AS r
	 WHERE r.channel = contact_for.channel AND customer IS NOT NULL
	 ORDER BY contact_for.purpose = ANY (r.purposes) DESC, r.suppressed, r.id <> customer, r.id
	 LIMIT 1;
	IF NOT FOUND THEN
		refusal := 'no address';
	ELSIF NOT agreed THEN
		refusal := 'no consent';
	ELSIF suppressed THEN
		refusal := 'suppressed';
	END IF;
	IF refusal IS NOT NULL THEN
		address := NULL;
	END IF;
END
$function$;
COMMENT ON FUNCTION crm.contact_for(bigint, text, text) IS
'the address at which a customer may be written to on a channel for a purpose: that of his own id first, then by id; or NULL and why not: no address, no consent, suppressed. Errors: 22004 NULL channel, 42704 unknown channel';
