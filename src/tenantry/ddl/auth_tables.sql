-- Better Auth 1.7 with uuid ids and the plugins organization, admin and jwt, as its own migration makes it: names,
-- types and defaults are Better Auth's. The two columns that point at nothing by a constraint stay text there, too.
CREATE TABLE IF NOT EXISTS {schema}."user" (
  "id" uuid DEFAULT pg_catalog.gen_random_uuid() NOT NULL PRIMARY KEY, "name" text NOT NULL,
  "email" text NOT NULL UNIQUE, "emailVerified" boolean NOT NULL, "image" text,
  "createdAt" timestamptz DEFAULT CURRENT_TIMESTAMP NOT NULL,
  "updatedAt" timestamptz DEFAULT CURRENT_TIMESTAMP NOT NULL,
  "role" text, "banned" boolean, "banReason" text, "banExpires" timestamptz);
CREATE TABLE IF NOT EXISTS {schema}."session" (
  "id" uuid DEFAULT pg_catalog.gen_random_uuid() NOT NULL PRIMARY KEY, "expiresAt" timestamptz NOT NULL,
  "token" text NOT NULL UNIQUE, "createdAt" timestamptz DEFAULT CURRENT_TIMESTAMP NOT NULL,
  "updatedAt" timestamptz NOT NULL, "ipAddress" text, "userAgent" text,
  "userId" uuid NOT NULL REFERENCES {schema}."user" ("id") ON DELETE CASCADE,
  "activeOrganizationId" text, "impersonatedBy" text);
CREATE TABLE IF NOT EXISTS {schema}."account" (
  "id" uuid DEFAULT pg_catalog.gen_random_uuid() NOT NULL PRIMARY KEY, "accountId" text NOT NULL,
  "providerId" text NOT NULL, "userId" uuid NOT NULL REFERENCES {schema}."user" ("id") ON DELETE CASCADE,
  "accessToken" text, "refreshToken" text, "idToken" text, "accessTokenExpiresAt" timestamptz,
  "refreshTokenExpiresAt" timestamptz, "scope" text, "password" text,
  "createdAt" timestamptz DEFAULT CURRENT_TIMESTAMP NOT NULL, "updatedAt" timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS {schema}."verification" (
  "id" uuid DEFAULT pg_catalog.gen_random_uuid() NOT NULL PRIMARY KEY, "identifier" text NOT NULL,
  "value" text NOT NULL, "expiresAt" timestamptz NOT NULL,
  "createdAt" timestamptz DEFAULT CURRENT_TIMESTAMP NOT NULL,
  "updatedAt" timestamptz DEFAULT CURRENT_TIMESTAMP NOT NULL);
CREATE TABLE IF NOT EXISTS {schema}."organization" (
  "id" uuid DEFAULT pg_catalog.gen_random_uuid() NOT NULL PRIMARY KEY, "name" text NOT NULL,
  "slug" text NOT NULL UNIQUE, "logo" text, "createdAt" timestamptz NOT NULL, "metadata" text);
CREATE TABLE IF NOT EXISTS {schema}."member" (
  "id" uuid DEFAULT pg_catalog.gen_random_uuid() NOT NULL PRIMARY KEY,
  "organizationId" uuid NOT NULL REFERENCES {schema}."organization" ("id") ON DELETE CASCADE,
  "userId" uuid NOT NULL REFERENCES {schema}."user" ("id") ON DELETE CASCADE,
  "role" text NOT NULL, "createdAt" timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS {schema}."invitation" (
  "id" uuid DEFAULT pg_catalog.gen_random_uuid() NOT NULL PRIMARY KEY,
  "organizationId" uuid NOT NULL REFERENCES {schema}."organization" ("id") ON DELETE CASCADE,
  "email" text NOT NULL, "role" text, "status" text NOT NULL, "expiresAt" timestamptz NOT NULL,
  "createdAt" timestamptz DEFAULT CURRENT_TIMESTAMP NOT NULL,
  "inviterId" uuid NOT NULL REFERENCES {schema}."user" ("id") ON DELETE CASCADE);
CREATE TABLE IF NOT EXISTS {schema}."jwks" (
  "id" uuid DEFAULT pg_catalog.gen_random_uuid() NOT NULL PRIMARY KEY, "publicKey" text NOT NULL,
  "privateKey" text NOT NULL, "createdAt" timestamptz NOT NULL, "expiresAt" timestamptz, "alg" text, "crv" text);
CREATE INDEX IF NOT EXISTS "session_userId_idx" ON {schema}."session" ("userId");
CREATE INDEX IF NOT EXISTS "account_userId_idx" ON {schema}."account" ("userId");
CREATE INDEX IF NOT EXISTS "verification_identifier_idx" ON {schema}."verification" ("identifier");
CREATE INDEX IF NOT EXISTS "member_organizationId_idx" ON {schema}."member" ("organizationId");
CREATE INDEX IF NOT EXISTS "member_userId_idx" ON {schema}."member" ("userId");
CREATE INDEX IF NOT EXISTS "invitation_organizationId_idx" ON {schema}."invitation" ("organizationId");
CREATE INDEX IF NOT EXISTS "invitation_email_idx" ON {schema}."invitation" ("email");
