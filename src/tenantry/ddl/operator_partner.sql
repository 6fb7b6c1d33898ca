
-- The tenants of the partner for whom this transaction was entered in the audit log, before it began and within the
-- last minute. A row of the transaction itself is no older than the transaction, and does not count.
BEGIN
    RETURN QUERY
    SELECT p.{tenant}::{type}
      FROM {partners} AS p
     WHERE p.{partner}::text = (
           SELECT a.subject FROM {audit} AS a
            WHERE a.id = NULLIF(current_setting({setting}, true), '')::uuid
              AND a.login = SESSION_USER AND a.scope = 'partner'
              AND a.at < transaction_timestamp() AND a.at > transaction_timestamp() - interval '1 minute');
END
