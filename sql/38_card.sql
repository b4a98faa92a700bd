-- The dossier: all that is known of a person on one page, and addresses for those who are not to see them whole.

CREATE FUNCTION crm.customer_card(customer_id bigint) RETURNS jsonb
	LANGUAGE plpgsql STABLE STRICT PARALLEL RESTRICTED SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET TimeZone = 'UTC'							-- instants read the same for everybody
AS $function$
DECLARE
	customer CONSTANT bigint := crm.resolve_customer(customer_card.customer_id);
	ids CONSTANT bigint[] := crm.ids_of(customer);
	profile CONSTANT crm.profile := crm.profile_of(customer);
BEGIN
	IF profile IS NULL THEN
		RETURN NULL;
	END IF;
	RETURN jsonb_build_object(
		'customer', customer,
		'ids', to_jsonb(ids),
		'attributes', (
			SELECT coalesce(jsonb_object_agg(a.name, a.value), '{}') FROM crm.attributes_of(profile) AS a),
		'identities', (
			SELECT coalesce(jsonb_agg(jsonb_build_object('namespace', i.namespace, 'value', i.value, 'source', i.source,
														 'since', i.added_at)
									  ORDER BY i.namespace, i.added_at, i.value), '[]')
			  FROM (SELECT DISTINCT ON (o.namespace, o.value) o.*
					  FROM crm.identity AS o
					 WHERE o.customer_id = ANY (ids)
					 ORDER BY o.namespace, o.value, o.added_at, o.customer_id <> customer, o.customer_id) AS i),
		'contacts', (
			SELECT coalesce(jsonb_agg(to_jsonb(c) - 'number' ORDER BY c.number), '[]')
			  FROM (SELECT o.channel, o.address, o.purposes, o.suppressed, o.reachable, o.number
					  FROM crm.contacts_of(customer) WITH ORDINALITY
						   AS o(channel, address, purposes, suppressed, reachable, number)) AS c),
		'consents', (
			SELECT coalesce(jsonb_agg(jsonb_build_object('channel', c.channel, 'purpose', c.purpose, 'granted', c.granted, 'at', c.at,
														 'source', c.source, 'proof', c.proof)
									  ORDER BY c.at DESC, c.consent_id DESC), '[]')
			  FROM crm.consent AS c
			 WHERE c.customer_id = ANY (ids)),
		'tags', coalesce((SELECT to_jsonb(t.tags) FROM crm.tag_states(ARRAY[customer]) AS t), '[]'),
		'segments', (
			SELECT coalesce(jsonb_agg(m.segment ORDER BY m.segment), '[]')
			  FROM crm.segment_member AS m
			 WHERE m.customer_id = customer),
		'scores', (
			SELECT coalesce(jsonb_object_agg(s.key, s.value), '{}')
			  FROM (SELECT DISTINCT ON (e.key) e.key, e.value
					  FROM crm_feed."customer.score" AS o
					 CROSS JOIN LATERAL jsonb_each(to_jsonb(o) - 'customer_id') AS e
					 WHERE o.customer_id = ANY (ids) AND e.value <> 'null'
					 ORDER BY e.key, array_position(ids, o.customer_id)) AS s),
		'events', (
			SELECT coalesce(jsonb_agg(jsonb_build_object('kind', e.kind, 'at', e.at, 'properties', e.properties)
									  ORDER BY e.at DESC, e.number DESC), '[]')
			  FROM (SELECT o.*
					  FROM crm.events_of(profile) WITH ORDINALITY AS o(kind, at, properties, number)
					 WHERE o.at <= crm.now()
					 ORDER BY o.at DESC, o.number DESC
					 LIMIT 20) AS e));
END
$function$;
COMMENT ON FUNCTION crm.customer_card(bigint) IS
'the whole dossier of a person, by whichever of his ids: customer, ids (his own first, then those merged into it), attributes (as predicates see them), identities, contacts (address, the purposes agreed to, suppressed, reachable for marketing), consents (what was said, the latest first), tags, segments (as stored), scores, events (the last 20 that have happened, the latest first). Instants are UTC. NULL for NULL, and for somebody of whom nothing is known. Errors: those of crm.profile_of()';

------------------------------------------------------------------------------------------------------------------
-- Addresses for those who only count them
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.mask_address(namespace text, value text) RETURNS text
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE
	WHEN namespace = 'phone' AND pg_catalog.length(value) >= 12 THEN pg_catalog.left(value, 5) || '***' || pg_catalog.right(value, 4)
	WHEN namespace = 'email' AND pg_catalog.strpos(value, '@') > 1
		THEN pg_catalog.left(value, 1) || '***' || pg_catalog.substr(value, pg_catalog.strpos(value, '@'))
	WHEN pg_catalog.length(value) >= 8 THEN pg_catalog.left(value, 2) || '***' || pg_catalog.right(value, 2)
	ELSE '***'
END;
COMMENT ON FUNCTION crm.mask_address(text, text) IS
'an address or another identity as somebody may see it who need not know it: +7999***4567, a***@example.org, and of any other its first two and last two characters, or none when it has fewer than eight. NULL gives NULL';

CREATE VIEW crm.identity_masked AS
	SELECT i.namespace, crm.mask_address(i.namespace, i.value) AS value, i.customer_id, i.source, i.added_at
	  FROM crm.identity AS i;
COMMENT ON VIEW crm.identity_masked IS 'crm.identity with masked values, for those who may not read them';
COMMENT ON COLUMN crm.identity_masked.namespace IS 'what kind of name it is, as in crm.identity';
COMMENT ON COLUMN crm.identity_masked.value IS 'the name, as by crm.mask_address()';
COMMENT ON COLUMN crm.identity_masked.customer_id IS 'the customer; of a merged one, the id by which it came';
COMMENT ON COLUMN crm.identity_masked.source IS 'where it is from, as in crm.identity';
COMMENT ON COLUMN crm.identity_masked.added_at IS 'since when it is known';

CREATE VIEW crm.contact_masked AS
	SELECT c.customer_id, c.channel, crm.mask_address(coalesce(h.kind, ''), c.address) AS address, c.source, c.set_at
	  FROM crm.contact AS c
	  LEFT JOIN crm.channel AS h USING (channel);
COMMENT ON VIEW crm.contact_masked IS 'crm.contact with masked addresses, for those who may not read them';
COMMENT ON COLUMN crm.contact_masked.customer_id IS 'whose; of a merged one, the id by which it came';
COMMENT ON COLUMN crm.contact_masked.channel IS 'for which channel';
COMMENT ON COLUMN crm.contact_masked.address IS 'the address, as by crm.mask_address(); NULL: he has none there, whatever the feed says';
COMMENT ON COLUMN crm.contact_masked.source IS 'where it is from, in the caller''s words';
COMMENT ON COLUMN crm.contact_masked.set_at IS 'when it was stored';
