// The tables about people, as types; a migration makes them. Conventions as in schema.ts. What proves
// something (a cookie's token, a code, a link's token) is kept as its SHA-256 only, in hexadecimal.

import type { Generated } from 'kysely';

/** What a person may do in the portal; what each may is the broker's business. */
export type Role = 'user' | 'support' | 'abuse' | 'read-only' | 'administrator';
export type PersonState = 'waiting-approval' | 'active' | 'disabled';
/** `second-factor`: the password was right, and a code is waited for; nothing else may be done. */
export type SessionStage = 'second-factor' | 'signed-in';
export type EmailTokenPurpose = 'reset' | 'change';

export interface PeopleTables {
  people: {
    id: Generated<number>;
    /** Null: no tunnels, staff only. */
    user_id: number | null;
    /** In lower case. */
    email: string;
    /** When a link in a mail to it was last used. */
    email_verified_at_ms: number | null;
    /** In PHC's format; null: none was set, so nobody can sign in with one. */
    password_hash: string | null;
    role: Role;
    state: PersonState;
    /** Null: what the browser says. */
    language: string | null;
    /** Encrypted by the broker; there may be one that is not enabled yet. */
    sealed_totp: string | null;
    totp_enabled_at_ms: number | null;
    /** The last time step a code was accepted for: a code works once. */
    totp_last_step: number | null;
    created_at_ms: number;
    last_sign_in_at_ms: number | null;
  };
  recovery_codes: { person_id: number; code_hash: string };
  /** Wait for their address to be verified. Any number for one address or name: none is taken yet. */
  sign_ups: {
    id: Generated<number>;
    email: string;
    user_name: string;
    password_hash: string;
    language: string | null;
    invitation_id: number | null;
    token_hash: string;
    created_at_ms: number;
    expires_at_ms: number;
  };
  web_sessions: {
    id: Generated<number>;
    person_id: number;
    token_hash: string;
    stage: SessionStage;
    address: string;
    user_agent: string;
    created_at_ms: number;
    last_used_at_ms: number;
    expires_at_ms: number;
  };
  api_tokens: {
    id: Generated<number>;
    person_id: number;
    name: string;
    token_hash: string;
    /** Separated by spaces. */
    scopes: string;
    created_at_ms: number;
    last_used_at_ms: number | null;
    expires_at_ms: number | null;
  };
  /** Gone when they are used. */
  email_tokens: {
    id: Generated<number>;
    person_id: number;
    purpose: EmailTokenPurpose;
    token_hash: string;
    /** For `change`. */
    new_email: string | null;
    created_at_ms: number;
    expires_at_ms: number;
  };
  invitations: {
    id: Generated<number>;
    code_hash: string;
    /** Null: whoever has the code. */
    email: string | null;
    role: Role;
    /** A user who exists already and gets a person; null: the invited choose a name. */
    user_id: number | null;
    /** Null: the command line. */
    invited_by: number | null;
    created_at_ms: number;
    expires_at_ms: number;
    used_by: number | null;
    used_at_ms: number | null;
  };
  /** What is to be sent. Gone when a mail server took it. */
  mails: {
    id: Generated<number>;
    /** Receiver and content, encrypted by the broker: there are links in it that prove something. */
    sealed: string;
    created_at_ms: number;
    next_try_at_ms: number;
    tries: number;
  };
  /** Outlives whom it is about: people are numbers here. */
  audit_log: {
    id: Generated<number>;
    at_ms: number;
    /** Null: the command line, or nobody who was signed in. */
    person_id: number | null;
    act: string;
    /** Whom or what it was done to, such as `person:12` or `tunnel:7`. */
    subject: string | null;
    /** JSON. */
    details: string | null;
    address: string | null;
  };
}
