
-- The tenant that a token of the application names, or null: without one, with one of another key, database, app or
-- kind, and with one that had expired when the transaction began. `session/signing.py` says where each part stands.
-- One statement with no parameters, so that it is planned once a session: this runs once for each query.
DECLARE
    named {type};
BEGIN
    -- Hashes are compared, so that the time it takes says nothing of how much of a guess was right. CASE keeps what
    -- the token says from being read before it is known to be the application's.
    SELECT CASE WHEN sha256(convert_to(left(current_setting({setting}, true), 64), 'UTF8'))
                     = sha256(convert_to(encode(sha256(k.outer_pad || sha256(k.inner_pad || convert_to(
                           current_database() || {schema} || chr(10) || substr(current_setting({setting}, true), 65),
                           'UTF8'))), 'hex'), 'UTF8'))
           THEN CASE WHEN substr(current_setting({setting}, true), 92, 1) = 't'
                      AND substr(current_setting({setting}, true), 82, 10)::float8
                          > date_part('epoch', transaction_timestamp())
                THEN substr(current_setting({setting}, true), 99,
                            substr(current_setting({setting}, true), 93, 6)::int)::{type}
                END
           END
      INTO named
      FROM {keys} AS k
     WHERE k.id = substr(current_setting({setting}, true), 66, 16);
    RETURN named;
END
