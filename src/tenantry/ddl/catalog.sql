-- All that tenantry decides on, as one document in one round trip. Expressions are deparsed with the search path that
-- the caller has set to pg_catalog alone, so that every name of another schema is qualified.
SELECT pg_catalog.json_build_object(
  'database', (
    SELECT pg_catalog.json_build_object(
      'name', d.datname,
      'settings', (
        SELECT coalesce(pg_catalog.json_agg(pg_catalog.split_part(s.setting, '=', 1)), '[]')
        FROM pg_catalog.pg_db_role_setting AS c, pg_catalog.unnest(c.setconfig) AS s (setting)
        WHERE c.setrole = 0 AND c.setdatabase = d.oid),
      'grants', (
        SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'grantee', CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(a.grantee) END,
            'privilege', a.privilege_type, 'grantable', a.is_grantable)), '[]')
        FROM pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) AS a
        WHERE a.grantee <> d.datdba))
    FROM pg_catalog.pg_database AS d
    WHERE d.datname = pg_catalog.current_database()),
  'current_role', current_user,
  'roles', (
    SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', r.rolname, 'superuser', r.rolsuper, 'inherit', r.rolinherit, 'create_role', r.rolcreaterole,
        'create_database', r.rolcreatedb, 'login', r.rolcanlogin, 'replication', r.rolreplication,
        'bypass_rls', r.rolbypassrls,
        'member_of', (
          SELECT coalesce(pg_catalog.json_agg(DISTINCT pg_catalog.pg_get_userbyid(m.roleid)), '[]')
          FROM pg_catalog.pg_auth_members AS m
          WHERE m.member = r.oid),
        'settings', (
          SELECT coalesce(pg_catalog.json_agg(DISTINCT pg_catalog.split_part(s.setting, '=', 1)), '[]')
          FROM pg_catalog.pg_db_role_setting AS c, pg_catalog.unnest(c.setconfig) AS s (setting)
          WHERE c.setrole = r.oid))), '[]')
    FROM pg_catalog.pg_roles AS r
    WHERE r.rolname = ANY (%(roles)s) OR r.rolname = current_user),
  'settable', (
    SELECT coalesce(pg_catalog.json_agg(r.rolname), '[]')
    FROM pg_catalog.pg_roles AS r
    WHERE r.rolname = ANY (%(roles)s) AND pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER')
      AND pg_catalog.pg_has_role(current_user, r.oid, 'USAGE')),
  'extensions', (
    SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', e.extname, 'schema', n.nspname)), '[]')
    FROM pg_catalog.pg_extension AS e
    JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace),
  'schemas', (
    SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', n.nspname, 'owner', pg_catalog.pg_get_userbyid(n.nspowner),
        'grants', (
          SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
              'grantee', CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(a.grantee) END,
              'privilege', a.privilege_type, 'grantable', a.is_grantable)), '[]')
          FROM pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) AS a
          WHERE a.grantee <> n.nspowner))), '[]')
    FROM pg_catalog.pg_namespace AS n
    WHERE n.nspname = ANY (%(schemas)s)),
  'default_privileges', (
    SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
        'role', pg_catalog.pg_get_userbyid(d.defaclrole), 'schema', n.nspname, 'kind', d.defaclobjtype,
        'grants', (
          SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
              'grantee', CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(a.grantee) END,
              'privilege', a.privilege_type, 'grantable', a.is_grantable)), '[]')
          FROM pg_catalog.aclexplode(d.defaclacl) AS a
          WHERE a.grantee <> d.defaclrole))), '[]')
    FROM pg_catalog.pg_default_acl AS d
    LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = d.defaclnamespace
    WHERE pg_catalog.pg_get_userbyid(d.defaclrole) = ANY (%(roles)s)),
  'relations', (
    SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
        'schema', n.nspname, 'name', c.relname, 'kind', c.relkind, 'owner', pg_catalog.pg_get_userbyid(c.relowner),
        'partition', c.relispartition,
        'inherits', EXISTS (
          SELECT FROM pg_catalog.pg_inherits AS i WHERE c.oid IN (i.inhrelid, i.inhparent)),
        'row_security', c.relrowsecurity, 'forced', c.relforcerowsecurity,
        'security_invoker', 'security_invoker=true' = ANY (coalesce(c.reloptions, '{}'))
          OR 'security_invoker=on' = ANY (coalesce(c.reloptions, '{}')),
        'columns', (
          SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
              'name', a.attname, 'quoted', pg_catalog.quote_ident(a.attname), 'type', pg_catalog.format_type(a.atttypid, NULL), 'not_null', a.attnotnull,
              'default', pg_catalog.pg_get_expr(f.adbin, f.adrelid),
              'generated', a.attgenerated <> '' OR a.attidentity <> '') ORDER BY a.attnum), '[]')
          FROM pg_catalog.pg_attribute AS a
          LEFT JOIN pg_catalog.pg_attrdef AS f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
          WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p')),
        'leading_index_columns', (
          SELECT coalesce(pg_catalog.json_agg(DISTINCT a.attname), '[]')
          FROM pg_catalog.pg_index AS x
          JOIN pg_catalog.pg_class AS xc ON xc.oid = x.indexrelid
          JOIN pg_catalog.pg_am AS m ON m.oid = xc.relam
          JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = x.indkey[0]
          WHERE x.indrelid = c.oid AND x.indisvalid AND x.indpred IS NULL AND m.amname = 'btree'),
        'foreign_keys', (
          SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
              'name', k.conname, 'target_schema', tn.nspname, 'target', t.relname,
              'columns', (
                SELECT pg_catalog.json_agg(a.attname)
                FROM pg_catalog.pg_attribute AS a
                WHERE a.attrelid = c.oid AND a.attnum = ANY (k.conkey)))), '[]')
          FROM pg_catalog.pg_constraint AS k
          JOIN pg_catalog.pg_class AS t ON t.oid = k.confrelid
          JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
          WHERE k.conrelid = c.oid AND k.contype = 'f'),
        'policies', (
          SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
              'name', p.polname, 'permissive', p.polpermissive, 'command', p.polcmd,
              'roles', (
                SELECT pg_catalog.json_agg(CASE WHEN r.id = 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(r.id) END)
                FROM pg_catalog.unnest(p.polroles) AS r (id)),
              'using', pg_catalog.pg_get_expr(p.polqual, p.polrelid),
              'check', pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)) ORDER BY p.polname), '[]')
          FROM pg_catalog.pg_policy AS p
          WHERE p.polrelid = c.oid),
        'grants', (
          SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
              'grantee', CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(a.grantee) END,
              'privilege', a.privilege_type, 'grantable', a.is_grantable)), '[]')
          FROM pg_catalog.aclexplode(c.relacl) AS a
          WHERE a.grantee <> c.relowner),
        'column_grants', (
          SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
              'grantee', CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(a.grantee) END,
              'privilege', a.privilege_type, 'grantable', a.is_grantable, 'column', t.attname)), '[]')
          FROM pg_catalog.pg_attribute AS t, pg_catalog.aclexplode(t.attacl) AS a
          WHERE t.attrelid = c.oid AND NOT t.attisdropped AND a.grantee <> c.relowner)
      ) ORDER BY n.nspname, c.relname), '[]')
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY (%(schemas)s) AND n.nspname <> 'public'
      AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend AS e
        WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND e.objid = c.oid AND e.deptype = 'e')),
  'functions', (
    SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
        'schema', n.nspname, 'name', p.proname, 'kind', p.prokind,
        'argument_types', pg_catalog.oidvectortypes(p.proargtypes),
        'definer', p.prosecdef, 'source', p.prosrc, 'volatility', p.provolatile,
        'settings', pg_catalog.to_json(coalesce(p.proconfig, '{}')), 'owner', pg_catalog.pg_get_userbyid(p.proowner),
        'grants', (
          SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
              'grantee', CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(a.grantee) END,
              'privilege', a.privilege_type, 'grantable', a.is_grantable)), '[]')
          FROM pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) AS a
          WHERE a.grantee <> p.proowner)) ORDER BY p.proname, p.oid), '[]')
    FROM pg_catalog.pg_proc AS p
    JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname = ANY (%(schemas)s) AND n.nspname <> 'public'
      AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend AS e
        WHERE e.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND e.objid = p.oid AND e.deptype = 'e'))
)
