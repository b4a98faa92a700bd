-- Templates: what messages say, by channel and language, with placeholders in the mustache language.

CREATE TABLE crm.template (
	template	text NOT NULL,
	channel		text NOT NULL,
	language	text NOT NULL DEFAULT '',
	version		int NOT NULL,
	parts		jsonb NOT NULL,
	created_at	timestamptz NOT NULL DEFAULT pg_catalog.now(),
	dropped		boolean NOT NULL DEFAULT false,
	PRIMARY KEY (template, channel, language, version)
);
COMMENT ON TABLE crm.template IS 'templates of messages; of each the version with the greatest number is used, older ones stay as a record';
COMMENT ON COLUMN crm.template.template IS 'its name';
COMMENT ON COLUMN crm.template.channel IS 'for which channel';
COMMENT ON COLUMN crm.template.language IS 'in which language; empty: for everybody of whom no other is there';
COMMENT ON COLUMN crm.template.version IS 'number, from 1';
COMMENT ON COLUMN crm.template.parts IS 'its parts, texts by name, such as subject, text and html';
COMMENT ON COLUMN crm.template.created_at IS 'when it was made, by the clock';
COMMENT ON COLUMN crm.template.dropped IS 'is not used any more';

SELECT pg_catalog.pg_extension_config_dump('crm.template', '');

CREATE FUNCTION crm.render_text(template text, data jsonb, escape text DEFAULT 'none') RETURNS text
	AS 'MODULE_PATHNAME', 'crm_template_render_text'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.render_text(text, jsonb, text) IS
'a text with placeholders in the mustache language, filled: {{name}}, {{a.b}}, {{#section}} ... {{/section}}, {{^inverted}} ... {{/inverted}}, {{! comment}}, {{=<% %>=}}; no partials and no lambdas. A name that is not there prints nothing; numbers print as they stand, objects and lists as JSON. Null, false, an empty list and an empty text make a section false. escape: none, html (& < > " '' ` = in values) or url; {{{name}}} and {{&name}} are never escaped. NULL gives NULL. Errors: 22023 a malformed template, with line and column, or another escape, 0A000 a partial, 54001 sections nested too deeply, 54000 more than 10 MB';

CREATE FUNCTION crm.render_parts(parts jsonb, data jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'crm_template_render_parts'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.render_parts(jsonb, jsonb) IS
'the parts of a template, filled: in those whose name ends in html values are escaped for HTML; those whose name ends in neither html nor text, such as subject, become one line, so that a value brings no header with it. NULL gives NULL. Errors: those of crm.render_text(), 22023 parts that are no object of texts';

CREATE FUNCTION crm.template_names(template text) RETURNS text[]
	AS 'MODULE_PATHNAME', 'crm_template_names'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.template_names(text) IS
'the names that a template refers to, as they are written there, each once, in order of their bytes. NULL gives NULL. Errors: those of crm.render_text()';

CREATE FUNCTION crm.set_template(template text, channel text, parts jsonb, language text DEFAULT '') RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	newest crm.template;
	odd text;
BEGIN
	IF set_template.template IS NULL OR set_template.parts IS NULL OR set_template.language IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'name, parts and language of a template must not be null';
	END IF;
	PERFORM crm.channel_kind(set_template.channel);
	IF set_template.template !~ '^[[:alnum:]_][[:alnum:]_ .-]*$' OR octet_length(set_template.template) > 63 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_name',
			MESSAGE = format('invalid name of a template: "%s"', set_template.template),
			DETAIL = 'It has at most 63 bytes: letters, digits, blanks, points, hyphens and underscores.';
	ELSIF set_template.language !~ '^([a-z]{2,3}([-_][A-Za-z0-9]+)*)?$' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('invalid language "%s"', set_template.language),
			HINT = 'Give a tag such as en or pt-BR.';
	ELSIF jsonb_typeof(set_template.parts) <> 'object' OR set_template.parts = '{}' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'parts of a template must be an object of texts',
			HINT = 'For example {"subject": "Hello", "text": "Dear {{customer.name}}"}.';
	END IF;
	SELECT k INTO odd FROM jsonb_object_keys(set_template.parts) AS k WHERE k !~ '^[a-z][a-z0-9_]*$' ORDER BY k LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_name',
			MESSAGE = format('invalid name of a part: "%s"', odd),
			DETAIL = 'Its name is of small letters, digits and underscores.';
	END IF;
	PERFORM crm.render_parts(set_template.parts, '{}');

	PERFORM pg_advisory_xact_lock(hashtext('crm.template'), hashtext(set_template.template));
	SELECT t.* INTO newest
	  FROM crm.template AS t
	 WHERE t.template = set_template.template AND t.channel = set_template.channel AND t.language = set_template.language
	 ORDER BY t.version DESC LIMIT 1;
	IF newest.parts = set_template.parts AND NOT newest.dropped THEN
		RETURN newest.version;
	END IF;
	INSERT INTO crm.template AS t (template, channel, language, version, parts)
	VALUES (set_template.template, set_template.channel, set_template.language, coalesce(newest.version, 0) + 1, set_template.parts);
	RETURN coalesce(newest.version, 0) + 1;
END
$function$;
COMMENT ON FUNCTION crm.set_template(text, text, jsonb, text) IS
'a template of messages for a channel, in a language (empty: for all that have no other): its parts, texts by name, such as subject, text and html, with placeholders as crm.render_text() has them: customer (the attributes), event (the properties of the deciding event), code, message (id, campaign, step), and what the message itself brings. What is queued is rendered by the newest version when it is handed out. Returns the version: a new one if anything differs. Errors: 22004 NULL, 42704 unknown channel, 42602 an invalid name, 22023 an invalid language, no object of texts, or a malformed template, and those of crm.render_text()';

CREATE FUNCTION crm.drop_template(template text, channel text DEFAULT NULL, language text DEFAULT NULL) RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	result int;
BEGIN
	-- numbers are not used again, so the last version stays as a record
	UPDATE crm.template AS t
	   SET dropped = true
	 WHERE t.template = drop_template.template AND (drop_template.channel IS NULL OR t.channel = drop_template.channel)
	   AND (drop_template.language IS NULL OR t.language = drop_template.language) AND NOT t.dropped;
	GET DIAGNOSTICS result = ROW_COUNT;
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.drop_template(text, text, text) IS
'a template is not used any more, of a channel and a language or of all: messages that need it become dead, with this reason. Returns how many versions there were. NULL drops none';

CREATE FUNCTION crm.newest_template(template text, channel text, language text DEFAULT '') RETURNS crm.template
	AS 'MODULE_PATHNAME', 'crm_template_newest'
	LANGUAGE C STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crm.newest_template(text, text, text) IS
'the template that is used for a language: of this very one, else of the one without its country, else of none. NULL if there is none, and for NULL';

CREATE FUNCTION crm.render_template(template text, channel text, data jsonb, language text DEFAULT '') RETURNS jsonb
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	parts CONSTANT jsonb := (crm.newest_template(render_template.template, render_template.channel, render_template.language)).parts;
BEGIN
	IF parts IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('there is no template "%s" for channel "%s"', render_template.template, render_template.channel),
			HINT = 'crm.set_template() makes one.';
	END IF;
	RETURN crm.render_parts(parts, coalesce(render_template.data, '{}'));
END
$function$;
COMMENT ON FUNCTION crm.render_template(text, text, jsonb, text) IS
'the parts of the template that is used for a language, filled. Errors: 42704 there is no such template, and those of crm.render_parts()';
