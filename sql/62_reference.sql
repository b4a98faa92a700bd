-- Which messages that wait name a segment: it must not be dropped under them, for what is asked of them could not be answered.

CREATE FUNCTION crm.messages_naming(segment int) RETURNS SETOF text
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
	SELECT DISTINCT CASE WHEN m.campaign IS NULL THEN 'messages in the outbox' ELSE format('messages of campaign "%s" in the outbox', m.campaign) END
	  FROM crm.outbox AS o
	  JOIN crm.message AS m ON m.customer_id = o.customer_id AND m.message_id = o.message_id
	  LEFT JOIN crm.guard AS g ON g.guard_id = m.guard_id
	 WHERE g.state IS DISTINCT FROM 'stopped'		-- of those no more is asked
	   AND (messages_naming.segment = ANY (crm.segments_named(m.condition)) OR messages_naming.segment = ANY (crm.segments_named(g.trigger))
			OR messages_naming.segment = ANY (crm.segments_named(g.goal)))
$function$;
COMMENT ON FUNCTION crm.messages_naming(int) IS
'messages that are not settled and whose condition, or whose guard, names a segment, such as: messages of campaign "thanks" in the outbox. For crm.drop_segment()';
INSERT INTO crm.segment_reference VALUES ('messages_naming');
