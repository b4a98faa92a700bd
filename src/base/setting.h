/*-------------------------------------------------------------------------
 *
 * setting.h
 *	  The rows of crm.setting.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CRM_SETTING_H
#define CRM_SETTING_H

/* The value that crm.configure has given a setting, palloc'd; NULL when it has none */
extern char *setting_read(const char *name);

#endif							/* CRM_SETTING_H */
