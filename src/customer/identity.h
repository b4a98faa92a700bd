/*
 * identity.h
 *		By what customers are known.
 */
#ifndef CRM_CUSTOMER_IDENTITY_H
#define CRM_CUSTOMER_IDENTITY_H

#include "postgres.h"

#include "feed/feed.h"

/*
 * Brings what customers are known by up to what the customers' feed says, of some or (NULL) of all; a stale feed says
 * nothing. Writes. Connected to SPI, with a snapshot of one's own afterwards to see it. Returns of whom something has changed, as
 * bigint[]; (Datum) 0 for nobody.
 */
extern Datum identity_sync(const FeedCustomers *customers);

#endif							/* CRM_CUSTOMER_IDENTITY_H */
