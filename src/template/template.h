/*
 * template.h
 *		What is sent, from a template's parts.
 */
#ifndef CRM_TEMPLATE_H
#define CRM_TEMPLATE_H

#include "postgres.h"

#include "utils/jsonb.h"

/*
 * The parts, filled with the data; in html, and in what ends in html, values are escaped for HTML. Errors: 22023 a part is no text
 * or no template, 54000 one gets too long.
 */
extern Jsonb *template_render(Jsonb *parts, Jsonb *data);

/*
 * newest.c: the parts of the template that is used for a language, in CurrentMemoryContext; NULL if there is none. Under the active
 * snapshot, connected to SPI.
 */
extern Jsonb *template_newest(const char *template, const char *channel, const char *language);

#endif							/* CRM_TEMPLATE_H */
