// Vendors: whom we buy from, their trunks with live health, and what a peer's engineer must know.
import { Code, Group, Text, Button } from '@mantine/core';
import { AsCurl, Answered, Failed, Fields, FormButton, Go, List, Page, Part, State, Sure, useMay, When, type Column, type FieldSpec } from '@warp/kit';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate, useParams } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { api, type Of } from '../api.ts';
import { nameOf, useDecks } from '../names.ts';
import { Health } from './operations.tsx';

type Vendor = Of<'Vendor'>;
type Trunk = Of<'VendorTrunk'>;
const state = (v: { status: string }) => <State kind={v.status === 'active' ? 'good' : 'off'}>{v.status}</State>;
const columns: Column<Vendor>[] = [
  { head: 'Name', cell: (v) => v.name, text: (v) => v.name, narrow: true, width: 'minmax(160px, 2fr)' },
  { head: 'Slug', cell: (v) => <Code>{v.slug}</Code>, text: (v) => v.slug },
  { head: 'State', cell: state, text: (v) => v.status, narrow: true },
  { head: 'Decks', cell: (v) => v.buy_deck_ids.length, text: (v) => String(v.buy_deck_ids.length), right: true },
  { head: 'Interconnection', cell: (v) => v.interconnection ?? '–', text: (v) => v.interconnection ?? '', width: 'minmax(120px, 1fr)' },
  { head: 'Since', cell: (v) => <When at={v.created_at} />, text: (v) => v.created_at, width: 'minmax(175px, 1fr)' },
];
function useFields(): FieldSpec[] {
  const decks = useDecks();
  return [
    { name: 'name', label: 'Name', required: true }, { name: 'slug', label: 'Slug', required: true, hint: 'Short, for metrics and the command line.' },
    { name: 'buy_deck_ids', label: 'Decks that it sells by (ids)', kind: 'many', choices: decks.map((d) => d.id) }, { name: 'interconnection', label: 'State of the interconnection' },
  ];
}
const trunkFields: FieldSpec[] = [
  { name: 'name', label: 'Name', required: true }, { name: 'hosts', label: 'Names', kind: 'many', hint: 'sip.example.com' }, { name: 'addresses', label: 'Addresses', kind: 'many', hint: '192.0.2.80:5060' },
  { name: 'transport', label: 'Transport', kind: 'choice', choices: ['udp', 'tcp', 'tls', 'auto'] }, { name: 'number_format', label: 'Numbers are sent as', kind: 'choice', choices: ['plus_e164', 'e164', 'national'] },
  { name: 'tech_prefix', label: 'Technical prefix' }, { name: 'channels', label: 'Channels', kind: 'number' }, { name: 'cps', label: 'Calls per second', kind: 'number' },
];

export function Vendors() {
  const may = useMay('vendors:write');
  const fields = useFields();
  const navigate = useNavigate();
  const make = async (v: Record<string, unknown>) => {
    const { data } = await api.post('/api/v1/admin/vendors', v as never);
    await navigate({ to: `/vendors/${(data as Vendor).id}` } as never);
  };
  return (
    <Page title="Vendors" actions={may && <FormButton primary label="New vendor" title="New vendor" fields={fields} submit={make} />}>
      <List path="/api/v1/admin/vendors" label="Vendors" columns={columns} filters={[{ name: 'name', label: 'Name' }, { name: 'slug', label: 'Slug' }, { name: 'status', label: 'State', choices: ['active', 'suspended'] }]}
        idOf={(v) => v.id} open={(v) => `/vendors/${v.id}`} empty={<Text>No vendor yet. A vendor carries calls: it needs a trunk and a deck.</Text>} />
    </Page>
  );
}

export function VendorPage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const at = { params: { vendor_id: id } };
  const queries = useQueryClient();
  const navigate = useNavigate();
  const [may, mayReset] = [useMay('vendors:write'), useMay('vendors:reset')];
  const fields = useFields();
  const decks = useDecks();
  const [trouble, setTrouble] = useState<unknown>(null);
  const vendor = useQuery({ queryKey: ['vendor', id], queryFn: () => api.get('/api/v1/admin/vendors/{vendor_id}', at) });
  const inbound = useQuery({ queryKey: ['vendor', id, 'inbound'], queryFn: () => api.get('/api/v1/admin/vendors/{vendor_id}/inbound', at) });
  const again = () => queries.invalidateQueries();
  const fixed = useMemo(() => ({ vendor: id }), [id]);
  const trunkColumns: Column<Trunk>[] = [
    { head: 'Trunk', cell: (t) => t.name, text: (t) => t.name, narrow: true },
    { head: 'Health', cell: (t) => <Health id={t.id} />, text: (t) => t.status, narrow: true, width: 'minmax(160px, 2fr)' },
    { head: 'Addresses', cell: (t) => [...t.hosts, ...t.addresses].join(' '), text: (t) => [...t.hosts, ...t.addresses].join(' '), width: 'minmax(160px, 2fr)' },
    { head: 'Transport', cell: (t) => t.transport, text: (t) => t.transport },
    { head: 'Channels', cell: (t) => t.channels ?? '–', text: (t) => String(t.channels ?? ''), right: true },
    { head: 'Calls/s', cell: (t) => t.cps ?? '–', text: (t) => String(t.cps ?? ''), right: true },
    { head: 'Do', text: () => '', width: '250px', cell: (t) => {
      const one = { params: { vendor_trunk_id: t.id } };
      return (
        <Group gap={4} wrap="nowrap">
          {may && <FormButton label="Change" title={`Change ${t.name}`} fields={[...trunkFields, { name: 'status', label: 'State', kind: 'choice', choices: ['active', 'disabled'], required: true }]} initial={t as never}
            submit={(v) => api.patch('/api/v1/admin/vendor-trunks/{vendor_trunk_id}', v as never, { ...one, version: t.version }).then(again)} />}
          {mayReset && <Button variant="default" onClick={() => void api.post('/api/v1/admin/vendor-trunks/{vendor_trunk_id}/reset', undefined as never, one).then(again).catch(setTrouble)}>Try it again</Button>}
        </Group>
      );
    } },
  ];
  return (
    <Answered query={vendor}>{({ data }) => {
      const v = data as Vendor;
      const turn = v.status === 'active' ? 'suspended' : 'active';
      return (
        <Page title={v.name} actions={<>
          {may && <FormButton label="Change" title={`Change ${v.name}`} fields={fields} initial={v as never} submit={(x) => api.patch('/api/v1/admin/vendors/{vendor_id}', x as never, { ...at, version: v.version }).then(again)} />}
          {may && <Sure what="the vendor" name={v.name} verb={turn === 'suspended' ? 'Suspend' : 'Activate'} act={() => api.patch('/api/v1/admin/vendors/{vendor_id}', { status: turn } as never, { ...at, version: v.version }).then(again)} />}
          {may && <Sure what="the vendor" name={v.name} act={() => api.delete('/api/v1/admin/vendors/{vendor_id}', at).then(() => navigate({ to: '/vendors' } as never))} />}
          <AsCurl path="/api/v1/admin/vendors/{vendor_id}" options={at} />
        </>}>
          {trouble !== null && <Failed why={trouble} />}
          <Part title="Vendor" actions={<Go to="/calls" search={{ vendor: id }}>Its calls</Go>}>
            <Fields of={[['State', state(v)], ['Slug', <Code key="s">{v.slug}</Code>], ['Sells by', v.buy_deck_ids.map((d) => <div key={d}><Go to={`/decks/${d}`}>{nameOf(decks, d)}</Go></div>)],
              ['Interconnection', v.interconnection ?? '–'], ['Id', <Code key="i">{v.id}</Code>], ['Version', v.version]]} />
          </Part>
          <Part title="Trunks" actions={may && <FormButton label="New trunk" title={`New trunk of ${v.name}`} fields={trunkFields} submit={(x) => api.post('/api/v1/admin/vendors/{vendor_id}/trunks', x as never, at).then(again)} />}>
            <List path="/api/v1/admin/vendor-trunks" label="Vendor trunks" columns={trunkColumns} fixed={fixed} idOf={(t) => t.id} empty={<Text>No trunk yet: no call goes there.</Text>} />
          </Part>
          <Part title="Calls that it brings">
            <Answered query={inbound}>{({ data: i }) => {
              const terms = i as Of<'InboundTerms'>;
              return <Fields of={[['Priced by', terms.priced_by], ['Decks', terms.deck_ids.map((d) => <div key={d}><Go to={`/decks/${d}`}>{nameOf(decks, d)}</Go></div>)]]} />;
            }}</Answered>
          </Part>
        </Page>
      );
    }}</Answered>
  );
}
