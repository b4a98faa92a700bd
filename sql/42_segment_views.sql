-- What people read of segments.

CREATE VIEW crm.segment_member (customer_id, segment_id, segment) AS
	SELECT m.customer_id, s.segment_id, s.name
	  FROM crm.segment AS s
	  JOIN crm.membership AS m ON m.segments OPERATOR(pg_catalog.@>) ARRAY[s.segment_id];
COMMENT ON VIEW crm.segment_member IS
'who is in which segment, a row each; finds the customers of one segment, and the segments of one customer, by index';
COMMENT ON COLUMN crm.segment_member.customer_id IS 'customer';
COMMENT ON COLUMN crm.segment_member.segment_id IS 'id of the segment';
COMMENT ON COLUMN crm.segment_member.segment IS 'its name';

CREATE VIEW crm.segments (segment_id, name, kind, definition, size, version, evaluated_at) AS
	SELECT s.segment_id,
		   s.name,
		   CASE WHEN s.predicate IS NULL THEN 'static' ELSE 'dynamic' END,
		   crm.name_segments(s.predicate)::text,
		   CASE WHEN s.evaluated_at IS NOT NULL THEN coalesce(c.size, 0) END,
		   s.version,
		   s.evaluated_at
	  FROM crm.segment AS s
	  LEFT JOIN (SELECT u.segment_id, pg_catalog.count(*) AS size
				   FROM crm.membership AS m, pg_catalog.unnest(m.segments) AS u(segment_id)
				  GROUP BY u.segment_id) AS c USING (segment_id);
COMMENT ON VIEW crm.segments IS 'all segments, with their sizes';
COMMENT ON COLUMN crm.segments.segment_id IS 'id of the segment';
COMMENT ON COLUMN crm.segments.name IS 'its name';
COMMENT ON COLUMN crm.segments.kind IS 'dynamic: its members follow from its definition; static: they are listed by hand';
COMMENT ON COLUMN crm.segments.definition IS 'its predicate, other segments by name; NULL for a static one';
COMMENT ON COLUMN crm.segments.size IS 'how many customers are stored in it; NULL when it has not been evaluated yet';
COMMENT ON COLUMN crm.segments.version IS 'how often it was defined';
COMMENT ON COLUMN crm.segments.evaluated_at IS
'the instant that its members are right for: of the last refresh or edit. NULL when there has been none yet';

CREATE VIEW crm.segment_change (change_id, customer_id, segment_id, segment, entered, at, seen_at, reason) AS
	SELECT c.change_id, c.customer_id, u.segment_id, s.name, u.entered, c.at, c.seen_at, c.reason
	  FROM crm.membership_change AS c
	 CROSS JOIN LATERAL (SELECT e, true FROM pg_catalog.unnest(c.entered) AS e
						 UNION ALL
						 SELECT e, false FROM pg_catalog.unnest(c.exited) AS e) AS u(segment_id, entered)
	  LEFT JOIN crm.segment AS s USING (segment_id);
COMMENT ON VIEW crm.segment_change IS
'the log of who entered and left which segment, a row for each; finds the changes of a customer and those of a span of time by index';
COMMENT ON COLUMN crm.segment_change.change_id IS 'number of the entry in crm.membership_change';
COMMENT ON COLUMN crm.segment_change.customer_id IS 'who';
COMMENT ON COLUMN crm.segment_change.segment_id IS 'id of the segment';
COMMENT ON COLUMN crm.segment_change.segment IS 'its name; NULL when it was dropped';
COMMENT ON COLUMN crm.segment_change.entered IS 'true: entered; false: left';
COMMENT ON COLUMN crm.segment_change.at IS 'the instant at which it became so';
COMMENT ON COLUMN crm.segment_change.seen_at IS 'when it was noticed, by the clock';
COMMENT ON COLUMN crm.segment_change.reason IS 'why: fact, time, edit, merge or gone, as in crm.membership_change';
