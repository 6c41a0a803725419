// Keys of programs, webhooks and their deliveries.
import { Button, Code, Group, Stack, Text } from '@mantine/core';
import { AsCurl, Answered, Failed, Fields, FormButton, Go, List, Page, Part, Secret, State, Sure, useMay, useSession, When, words, type Column } from '@warp/kit';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate, useParams } from '@tanstack/react-router';
import { useState } from 'react';
import { api, type Of } from '../api.ts';

type Key = Of<'ApiKey'>;
const alive = (k: Key) => (k.revoked_at ? <State kind="off">revoked</State> : k.expires_at && new Date(k.expires_at) < new Date() ? <State kind="off">ended</State> : <State kind="good">works</State>);
export function Keys() {
  const may = useMay('keys:write');
  const { permissions } = useSession();
  const queries = useQueryClient();
  const [secret, setSecret] = useState<string | null>(null);
  const again = () => queries.invalidateQueries({ queryKey: ['/api/v1/keys'] });
  const made = async (answer: Promise<{ data: unknown }>) => {
    setSecret(((await answer).data as Of<'NewApiKey'>).secret);
    await again();
  };
  const columns: Column<Key>[] = [
    { head: 'Name', cell: (k) => k.name, text: (k) => k.name, narrow: true, width: 'minmax(120px, 1fr)' },
    { head: 'Key', cell: (k) => <Code>{k.hint}</Code>, text: (k) => k.hint },
    { head: 'State', cell: alive, text: (k) => (k.revoked_at ? 'revoked' : 'works'), narrow: true },
    { head: 'May', cell: (k) => k.scopes.join(' '), text: (k) => k.scopes.join(' '), width: 'minmax(160px, 2fr)' },
    { head: 'From', cell: (k) => k.ip_allow.join(' ') || 'anywhere', text: (k) => k.ip_allow.join(' ') },
    { head: 'Last used', cell: (k) => <When at={k.last_used_at} />, text: (k) => k.last_used_at ?? '', width: 'minmax(175px, 1fr)' },
    ...(may ? [{
      head: 'Do', text: () => '', width: '230px',
      cell: (k: Key) => !k.revoked_at && (
        <Group gap={4} wrap="nowrap">
          <FormButton label="Rotate" title={`The key that follows ${k.name}`} save="Rotate" fields={[{ name: 'overlap_s', label: 'Both work for so many seconds', kind: 'number' }]} initial={{ overlap_s: 3_600 }}
            submit={(v) => made(api.post('/api/v1/keys/{key_id}/rotate', v as never, { params: { key_id: k.id } }))} />
          <Sure what="the key" name={k.name} verb="Revoke" act={() => api.delete('/api/v1/keys/{key_id}', { params: { key_id: k.id } }).then(again)} />
        </Group>
      ),
    }] : []),
  ];
  return (
    <Page title="API keys" actions={may && <FormButton primary label="New key" title="New key" fields={[
      { name: 'name', label: 'Name', required: true }, { name: 'scopes', label: 'What it may', kind: 'many', choices: permissions, required: true },
      { name: 'ip_allow', label: 'From these addresses only', kind: 'many' }, { name: 'expires_in_days', label: 'Ends after days', kind: 'number' }]}
      submit={(v) => made(api.post('/api/v1/keys', v as never))} />}>
      <Secret text={secret} close={() => setSecret(null)} />
      <List path="/api/v1/keys" label="API keys" columns={columns} idOf={(k) => k.id} empty={<Text>A program calls the API with a key. Make one, and it is shown once.</Text>} />
    </Page>
  );
}

type Hook = Of<'Webhook'>;
const EVENTS = ['call.completed', 'call.failed', 'balance.low', 'limit.reached', 'webhook.disabled', 'key.created', 'key.rotated', 'key.revoked', 'user.created', 'user.changed', 'user.deleted'];
const hookFields = [
  { name: 'name', label: 'Name', required: true }, { name: 'url', label: 'URL', required: true, hint: 'https, or http where your carrier allows it.' },
  { name: 'events', label: 'Events', kind: 'many' as const, choices: EVENTS, required: true },
];
const hookColumns: Column<Hook>[] = [
  { head: 'Name', cell: (w) => w.name, text: (w) => w.name, narrow: true },
  { head: 'State', cell: (w) => <State kind={w.status !== 'active' ? 'off' : w.failing_since ? 'warn' : 'good'}>{w.status === 'active' && w.failing_since ? 'failing' : w.status}</State>, text: (w) => w.status, narrow: true },
  { head: 'URL', cell: (w) => w.url, text: (w) => w.url, width: 'minmax(160px, 2fr)' },
  { head: 'Events', cell: (w) => w.events.join(' '), text: (w) => w.events.join(' '), width: 'minmax(160px, 2fr)' },
];
export function Webhooks() {
  const may = useMay('webhooks:write');
  const queries = useQueryClient();
  const [secret, setSecret] = useState<string | null>(null);
  const make = async (v: Record<string, unknown>) => {
    const { data } = await api.post('/api/v1/webhooks', v as never);
    setSecret((data as Hook).secret || null);
    await queries.invalidateQueries({ queryKey: ['/api/v1/webhooks'] });
  };
  return (
    <Page title="Webhooks" actions={may && <FormButton primary label="New webhook" title="New webhook" fields={hookFields} submit={make} />}>
      <Secret text={secret} close={() => setSecret(null)} />
      <List path="/api/v1/webhooks" label="Webhooks" columns={hookColumns} filters={[{ name: 'status', label: 'State', choices: ['active', 'disabled'] }]} idOf={(w) => w.id} open={(w) => `/webhooks/${w.id}`}
        empty={<Text>A webhook tells your systems what happens: a call that ended, a balance that is low. Each one is signed.</Text>} />
    </Page>
  );
}

type Delivery = Of<'Delivery'>;
const deliveryState = (d: Delivery) => <State kind={d.status === 'delivered' ? 'good' : d.status === 'dead' ? 'bad' : 'warn'}>{words(d.status)}</State>;
const deliveryColumns: Column<Delivery>[] = [
  { head: 'Made', cell: (d) => <When at={d.created_at} />, text: (d) => d.created_at, narrow: true, width: 'minmax(175px, 1fr)' },
  { head: 'Event', cell: (d) => d.type, text: (d) => d.type, narrow: true },
  { head: 'State', cell: deliveryState, text: (d) => d.status, narrow: true },
  { head: 'Tries', cell: (d) => d.attempts, text: (d) => String(d.attempts), right: true },
  { head: 'Last answer', cell: (d) => d.last_status ?? d.last_error ?? '–', text: (d) => String(d.last_status ?? d.last_error ?? '') },
  { head: 'Took', cell: (d) => (d.last_ms === null || d.last_ms === undefined ? '–' : `${d.last_ms} ms`), text: (d) => String(d.last_ms ?? ''), right: true },
];
export function WebhookPage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const at = { params: { webhook_id: id } };
  const may = useMay('webhooks:write');
  const queries = useQueryClient();
  const navigate = useNavigate();
  const [secret, setSecret] = useState<string | null>(null);
  const hook = useQuery({ queryKey: ['webhook', id], queryFn: () => api.get('/api/v1/webhooks/{webhook_id}', at) });
  const again = async () => {
    await queries.invalidateQueries({ queryKey: ['webhook', id] });
    await queries.invalidateQueries({ queryKey: ['/api/v1/webhooks/{webhook_id}/deliveries'] });
  };
  const test = useMutation({ mutationFn: () => api.post('/api/v1/webhooks/{webhook_id}/test', undefined as never, at), onSuccess: again });
  return (
    <Answered query={hook}>{({ data }) => {
      const w = data as Hook;
      return (
        <Page title={w.name} actions={may && <>
          <Button variant="default" loading={test.isPending} onClick={() => test.mutate()}>Send a test event</Button>
          <FormButton label="Change" title={`Change ${w.name}`} fields={[...hookFields, { name: 'status', label: 'State', kind: 'choice', choices: ['active', 'disabled'], required: true }]} initial={w as never}
            submit={(v) => api.patch('/api/v1/webhooks/{webhook_id}', v as never, { ...at, version: w.version }).then(again)} />
          <FormButton label="New secret" title="A new signing secret" save="Make it" fields={[{ name: 'overlap_s', label: 'Both sign for so many seconds', kind: 'number' }]} initial={{ overlap_s: 86_400 }}
            submit={async (v) => setSecret(((await api.post('/api/v1/webhooks/{webhook_id}/secret', v as never, at)).data as Of<'NewSecret'>).secret)} />
          <FormButton label="Replay a range" title="Send a range again" save="Send again" fields={[{ name: 'from', label: 'From', kind: 'moment', required: true }, { name: 'until', label: 'Until', kind: 'moment', required: true },
            { name: 'status', label: 'Only those that are', kind: 'choice', choices: ['dead', 'delivered', 'waiting'] }]} submit={(v) => api.post('/api/v1/webhooks/{webhook_id}/replay', v as never, at).then(again)} />
          <Sure what="the webhook" name={w.name} act={() => api.delete('/api/v1/webhooks/{webhook_id}', at).then(() => navigate({ to: '/webhooks' } as never))} />
        </>}>
          <Secret text={secret} close={() => setSecret(null)} />
          {test.isError && <Failed why={test.error} />}
          <Part title="Webhook">
            <Fields of={[['URL', <Code key="u">{w.url}</Code>], ['Events', w.events.join(', ')], ['State', w.status], ['Failing since', w.failing_since ? <When key="f" at={w.failing_since} /> : 'it does not fail'],
              ['Disabled', w.disabled_at ? <When key="d" at={w.disabled_at} /> : '–'], ['Id', <Code key="i">{w.id}</Code>]]} />
          </Part>
          <Part title="Deliveries">
            <List path="/api/v1/webhooks/{webhook_id}/deliveries" params={at.params} label="Deliveries" columns={deliveryColumns} filters={[{ name: 'status', label: 'State', choices: ['waiting', 'delivered', 'dead'] }]}
              idOf={(d) => d.event_id} open={(d) => `/webhooks/${id}/${d.event_id}`} live empty={<Text>Nothing was sent yet. Send a test event to see one.</Text>} />
          </Part>
        </Page>
      );
    }}</Answered>
  );
}

export function DeliveryPage() {
  const { id, event } = useParams({ strict: false }) as { id: string; event: string };
  const at = { params: { webhook_id: id, event_id: event } };
  const queries = useQueryClient();
  const may = useMay('webhooks:write');
  const delivery = useQuery({
    queryKey: ['delivery', id, event], queryFn: () => api.get('/api/v1/webhooks/{webhook_id}/deliveries/{event_id}', at),
    // While it is on its way, and after it was sent again, the page follows it.
    refetchInterval: ({ state }) => ((state.data?.data as Delivery | undefined)?.status === 'waiting' ? 1_500 : false),
  });
  const replay = useMutation({
    mutationFn: () => api.post('/api/v1/webhooks/{webhook_id}/deliveries/{event_id}/replay', undefined as never, at),
    onSuccess: () => queries.invalidateQueries({ queryKey: ['delivery', id, event] }),
  });
  return (
    <Answered query={delivery}>{({ data }) => {
      const d = data as Delivery;
      return (
        <Page title={d.type} actions={<>
          {may && <Button loading={replay.isPending} onClick={() => replay.mutate()}>Send again</Button>}
          <AsCurl path="/api/v1/webhooks/{webhook_id}/deliveries/{event_id}" options={at} />
        </>}>
          {replay.isError && <Failed why={replay.error} />}
          <Part title="Delivery">
            <Fields of={[['State', deliveryState(d)], ['Tries', d.attempts], ['Made', <When key="m" at={d.created_at} />], ['Finished', <When key="f" at={d.finished_at} />], ['Next try', <When key="n" at={d.next_at} />],
              ['Event', <Code key="e">{d.event_id}</Code>], ['Webhook', <Go key="w" to={`/webhooks/${id}`}>open it</Go>]]} />
          </Part>
          <Part title="Request"><Code block tabIndex={0}>{pretty(d.body)}</Code></Part>
          <Part title="Last answer">
            <Stack gap="xs">
              <Text>{d.last_status ? `HTTP ${d.last_status}` : (d.last_error ?? 'none yet')}{d.last_ms ? `, after ${d.last_ms} ms` : ''}</Text>
              {d.last_answer && <Code block tabIndex={0}>{d.last_answer}</Code>}
            </Stack>
          </Part>
        </Page>
      );
    }}</Answered>
  );
}

function pretty(text: string | undefined): string {
  if (text === undefined) return '–';
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
