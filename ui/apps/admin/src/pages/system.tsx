// Events, the audit log, operators, keys.
import { Button, Code, Group, Text } from '@mantine/core';
import { FormButton, List, Page, Secret, State, Sure, useMay, useSession, useUrl, When, words, type Column } from '@warp/kit';
import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api, type Of } from '../api.ts';

type Event = Of<'EventView'>;
const EVENTS = ['deck.activated', 'vendor_trunk.down', 'vendor_trunk.up', 'vendor.down', 'vendor.up', 'balance.low', 'limit.reached', 'webhook.disabled', 'key.created', 'key.rotated', 'key.revoked', 'key.recovered', 'user.created', 'user.changed', 'user.deleted'];
export function Events() {
  const columns: Column<Event>[] = [
    { head: 'When', cell: (e) => <When at={e.created_at} />, text: (e) => e.created_at, narrow: true, width: 'minmax(175px, 1fr)' },
    { head: 'Type', cell: (e) => e.type, text: (e) => e.type, narrow: true, width: 'minmax(140px, 1fr)' },
    { head: 'Customer', cell: (e) => e.customer_id ?? '–', text: (e) => e.customer_id ?? '', width: 'minmax(120px, 1fr)' },
    { head: 'Data', cell: (e) => <Code>{JSON.stringify(e.data)}</Code>, text: (e) => JSON.stringify(e.data), width: 'minmax(200px, 3fr)' },
  ];
  return (
    <Page title="Events">
      <List path="/api/v1/admin/events" label="Events" columns={columns} idOf={(e) => e.id} live filters={[{ name: 'type', label: 'Type', choices: EVENTS }, { name: 'customer', label: 'Customer' }]} empty={<Text>Nothing happened yet.</Text>} />
    </Page>
  );
}

type Line = Of<'AuditEntry'>;
export function Audit() {
  const [, setUrl] = useUrl();
  const columns: Column<Line>[] = [
    { head: 'When', cell: (a) => <When at={a.at} />, text: (a) => a.at, narrow: true, width: 'minmax(175px, 1fr)' },
    { head: 'Who', cell: (a) => a.actor, text: (a) => a.actor, width: 'minmax(140px, 1fr)' },
    { head: 'What', cell: (a) => a.action, text: (a) => a.action, narrow: true },
    { head: 'On', cell: (a) => <Button variant="transparent" size="compact-sm" px={0} onClick={() => setUrl({ object: a.object })}>{a.object}</Button>, text: (a) => a.object, width: 'minmax(160px, 1fr)' },
    { head: 'Before', cell: (a) => <Code>{a.before ? JSON.stringify(a.before) : '–'}</Code>, text: (a) => JSON.stringify(a.before ?? null), width: 'minmax(140px, 2fr)' },
    { head: 'Since then', cell: (a) => <Code>{a.detail ? JSON.stringify(a.detail) : '–'}</Code>, text: (a) => JSON.stringify(a.detail ?? null), width: 'minmax(140px, 2fr)' },
    { head: 'Request', cell: (a) => a.request_id, text: (a) => a.request_id },
  ];
  return (
    <Page title="Audit log">
      <List path="/api/v1/admin/audit" label="Audit log" columns={columns} idOf={(a) => String(a.id)} empty={<Text>Nothing was changed yet.</Text>}
        filters={[{ name: 'object', label: 'On' }, { name: 'actor', label: 'Who' }, { name: 'action', label: 'What' }, { name: 'customer', label: 'Customer' }, { name: 'at[gte]', label: 'From', kind: 'moment' }, { name: 'at[lt]', label: 'To', kind: 'moment' }]} />
    </Page>
  );
}

type Operator = Of<'Operator'>;
const ROLES = ['admin', 'routing', 'billing', 'noc', 'support', 'read_only'];
export function Operators() {
  const may = useMay('users:write');
  const queries = useQueryClient();
  const again = () => queries.invalidateQueries({ queryKey: ['/api/v1/admin/operators'] });
  const fields = [{ name: 'name', label: 'Name', required: true }, { name: 'role', label: 'Role', kind: 'choice' as const, choices: ROLES, required: true }];
  const columns: Column<Operator>[] = [
    { head: 'Name', cell: (o) => o.name, text: (o) => o.name, narrow: true, width: 'minmax(140px, 1fr)' },
    { head: 'Role', cell: (o) => words(o.role), text: (o) => o.role, narrow: true },
    { head: 'State', cell: (o) => <State kind={o.status === 'active' ? 'good' : 'off'}>{o.status}</State>, text: (o) => o.status },
    { head: 'Subject', cell: (o) => <Code>{o.subject}</Code>, text: (o) => o.subject, width: 'minmax(140px, 1fr)' },
    { head: 'Last seen', cell: (o) => <When at={o.last_seen_at} />, text: (o) => o.last_seen_at ?? '', width: 'minmax(175px, 1fr)' },
    ...(may ? [{ head: 'Do', text: () => '', width: '210px', cell: (o: Operator) => (
      <Group gap={4} wrap="nowrap">
        <FormButton label="Change" title={`Change ${o.name}`} initial={o as never} fields={[...fields, { name: 'status', label: 'State', kind: 'choice', choices: ['active', 'disabled'], required: true }]}
          submit={(v) => api.patch('/api/v1/admin/operators/{operator_id}', v as never, { params: { operator_id: o.id }, version: o.version }).then(again)} />
        <Sure what="the operator" name={o.name} act={() => api.delete('/api/v1/admin/operators/{operator_id}', { params: { operator_id: o.id } }).then(again)} />
      </Group>
    ) }] : []),
  ];
  return (
    <Page title="Operators" actions={may && <FormButton primary label="New operator" title="New operator" submit={(v) => api.post('/api/v1/admin/operators', v as never).then(again)}
      fields={[...fields, { name: 'subject', label: 'Subject at the issuer', required: true }, { name: 'email', label: 'E-mail' }]} />}>
      <List path="/api/v1/admin/operators" label="Operators" columns={columns} filters={[{ name: 'role', label: 'Role', choices: ROLES }]} idOf={(o) => o.id} empty={<Text>Nobody yet.</Text>} />
    </Page>
  );
}

type Key = Of<'ApiKey'>;
export function Keys() {
  const may = useMay('keys:write');
  const { permissions } = useSession();
  const queries = useQueryClient();
  const [secret, setSecret] = useState<string | null>(null);
  const again = () => queries.invalidateQueries({ queryKey: ['/api/v1/admin/keys'] });
  const columns: Column<Key>[] = [
    { head: 'Name', cell: (k) => k.name, text: (k) => k.name, narrow: true, width: 'minmax(120px, 1fr)' },
    { head: 'Key', cell: (k) => <Code>{k.hint}</Code>, text: (k) => k.hint },
    { head: 'State', cell: (k) => <State kind={k.revoked_at ? 'off' : 'good'}>{k.revoked_at ? 'revoked' : 'works'}</State>, text: (k) => (k.revoked_at ? 'revoked' : 'works'), narrow: true },
    { head: 'May', cell: (k) => k.scopes.join(' '), text: (k) => k.scopes.join(' '), width: 'minmax(160px, 2fr)' },
    { head: 'Last used', cell: (k) => <When at={k.last_used_at} />, text: (k) => k.last_used_at ?? '', width: 'minmax(175px, 1fr)' },
    ...(may ? [{ head: 'Do', text: () => '', width: '120px', cell: (k: Key) => !k.revoked_at && <Sure what="the key" name={k.name} verb="Revoke" act={() => api.delete('/api/v1/admin/keys/{key_id}', { params: { key_id: k.id } }).then(again)} /> }] : []),
  ];
  return (
    <Page title="API keys" actions={may && <FormButton primary label="New key" title="New key" fields={[
      { name: 'name', label: 'Name', required: true }, { name: 'scopes', label: 'What it may', kind: 'many', choices: permissions, required: true },
      { name: 'ip_allow', label: 'From these addresses only', kind: 'many' }, { name: 'expires_in_days', label: 'Ends after days', kind: 'number' }]}
      submit={async (v) => { setSecret(((await api.post('/api/v1/admin/keys', v as never)).data as Of<'NewApiKey'>).secret); await again(); }} />}>
      <Secret text={secret} close={() => setSecret(null)} />
      <List path="/api/v1/admin/keys" label="API keys" columns={columns} idOf={(k) => k.id} empty={<Text>No key.</Text>} />
    </Page>
  );
}
