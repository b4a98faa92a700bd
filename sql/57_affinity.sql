-- Affinity: what is bought together, and what next; and what to offer to whom because of it.

CREATE FUNCTION crm.affinity_of(
	sales crm.sales,
	relation text DEFAULT 'together',
	basket text DEFAULT 'instant',
	within interval DEFAULT NULL,
	min_pairs integer DEFAULT 5,
	zone text DEFAULT crm.timezone(),
	OUT item text, OUT other text, OUT pairs bigint, OUT with_item bigint, OUT with_other bigint, OUT cases bigint,
	OUT support numeric, OUT confidence numeric, OUT lift numeric)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'crm_score_affinity_of'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 10000;
COMMENT ON FUNCTION crm.affinity_of(crm.sales, text, text, interval, integer, text) IS
'pairs of items of crm.purchase_agg that are bought together or one after the other, those that occur min_pairs times or more; by item, the most frequent pair first. relation together: a case is a basket, and a pair two different items in it, in both directions. relation next: a case is two baskets of a customer of which one follows the other at once (and begins not later than "within", days being 24 hours, after the beginning of the first, if that is not NULL), and a pair an item of the first and a different one of the second. basket is what a customer bought at one instant; on one day of the zone; or, for together, customer: ever. pairs is in how many cases there is the pair, with_item and with_other in how many the item (next: in the first basket) and the other (next: in the second). support = pairs / cases, confidence = pairs / with_item, lift = confidence / (with_other / cases), the measures of Agrawal, Imielinski and Swami 1993 and Brin and others 1997. Memory for counting pairs is bounded by maintenance_work_mem, beyond it there are more passes. No rows for NULL. Errors: 22004 another argument but within is NULL, 22023 an unknown word or zone, an impossible number, within with months or for together, next with baskets by customer, or sales of another aggregate';

CREATE FUNCTION crm.affinity(
	relation text DEFAULT 'together',
	basket text DEFAULT 'instant',
	within interval DEFAULT NULL,
	min_pairs integer DEFAULT 5,
	since timestamptz DEFAULT '-infinity',
	until timestamptz DEFAULT crm.now(),
	zone text DEFAULT crm.timezone(),
	kind text DEFAULT 'purchase',
	item text DEFAULT 'item',
	OUT item text, OUT other text, OUT pairs bigint, OUT with_item bigint, OUT with_other bigint, OUT cases bigint,
	OUT support numeric, OUT confidence numeric, OUT lift numeric)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'crm_score_affinity'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000000 ROWS 10000;
COMMENT ON FUNCTION crm.affinity(text, text, interval, integer, timestamptz, timestamptz, text, text, text) IS
'pairs of items that are bought together or one after the other, by the feed of order lines: crm.affinity_of the events from "since" up to "until", both included. SELECT * FROM crm.affinity() WHERE lift > 2 ORDER BY confidence DESC LIMIT 20. kind is another feed to read, item the property that says what was bought (a category or brand will do); events of which it is not known are passed over. Memory is bounded by maintenance_work_mem, beyond it events go to temporary files. Errors: as there, and 42704 no such feed, 42703 or 42804 no such property or it is an array, 55000 the feed is stale';

CREATE FUNCTION crm.recommendations_of(
	sales crm.sales,
	per_customer integer DEFAULT 5,
	relation text DEFAULT 'together',
	basket text DEFAULT 'instant',
	within interval DEFAULT NULL,
	min_pairs integer DEFAULT 5,
	best_by text DEFAULT 'confidence',
	leads_from text DEFAULT 'all',
	at timestamptz DEFAULT crm.now(),
	again_after interval DEFAULT NULL,
	ahead interval DEFAULT '7 days',
	apart interval DEFAULT '1 day',
	prior numeric DEFAULT NULL,
	min_repeat numeric DEFAULT 0.25,
	min_intervals integer DEFAULT 5,
	zone text DEFAULT crm.timezone(),
	OUT customer bigint, OUT rank integer, OUT item text, OUT because text, OUT score numeric, OUT due timestamptz)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'crm_score_recommendations_of'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 50000;
COMMENT ON FUNCTION crm.recommendations_of(crm.sales, integer, text, text, interval, integer, text, text, timestamptz, interval, interval, interval, numeric, numeric, integer, text) IS
'what to offer each customer of crm.purchase_agg, at most per_customer (1 to 1000) items each, rank 1 the best. Candidates are the other items of the pairs of crm.affinity_of (relation, basket, within, min_pairs, zone) that begin at an item he bought: in any basket (leads_from all) or in his last one (last). score is the greatest confidence or lift (best_by) of a pair that leads to the item, and because the item that the pair begins at; equal ones go by the number of pairs, then by name. What he has bought already is not offered, unless the item is cyclic (apart, prior, min_repeat, min_intervals: see crm.cycles_of) and his next purchase of it (crm.customer_cycles_of) is not later than "ahead" after "at"; then that is due. What is not cyclic may be offered again when his last purchase of it is longer before "at" than again_after; NULL is never. Days and months of these two are those of the zone. The customers are in no particular order; who has no candidate has no row. No rows for NULL. Errors: as in these functions, and 22004 an argument other than within, again_after and prior is NULL';

CREATE FUNCTION crm.recommendations(
	per_customer integer DEFAULT 5,
	relation text DEFAULT 'together',
	basket text DEFAULT 'instant',
	within interval DEFAULT NULL,
	min_pairs integer DEFAULT 5,
	best_by text DEFAULT 'confidence',
	leads_from text DEFAULT 'all',
	at timestamptz DEFAULT crm.now(),
	again_after interval DEFAULT NULL,
	ahead interval DEFAULT '7 days',
	apart interval DEFAULT '1 day',
	prior numeric DEFAULT NULL,
	min_repeat numeric DEFAULT 0.25,
	min_intervals integer DEFAULT 5,
	zone text DEFAULT crm.timezone(),
	since timestamptz DEFAULT '-infinity',
	kind text DEFAULT 'purchase',
	item text DEFAULT 'item',
	OUT customer bigint, OUT rank integer, OUT item text, OUT because text, OUT score numeric, OUT due timestamptz)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'crm_score_recommendations'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000000 ROWS 50000;
COMMENT ON FUNCTION crm.recommendations(integer, text, text, interval, integer, text, text, timestamptz, interval, interval, interval, numeric, numeric, integer, text, timestamptz, text, text) IS
'what to offer each customer, by the feed of order lines: crm.recommendations_of the events from "since" up to "at", both included. kind, item and errors as in crm.affinity';
