// Rate decks: upload → report → activate → roll back. What an upload would change is seen before it is stored.
import { Button, Code, FileInput, Group, Select, Stack, Text, TextInput } from '@mantine/core';
import { AsCurl, Answered, Failed, Fields, FormButton, Go, List, money, Page, Part, Plain, State, Sure, useMay, When, words, type Column } from '@warp/kit';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate, useParams } from '@tanstack/react-router';
import { useState } from 'react';
import { api, type Of } from '../api.ts';

type Deck = Of<'Deck'>;
type Version = Of<'DeckVersion'>;
type Report = Of<'DeckReport'>;
const columns: Column<Deck>[] = [
  { head: 'Name', cell: (d) => d.name, text: (d) => d.name, narrow: true, width: 'minmax(160px, 2fr)' },
  { head: 'Kind', cell: (d) => (d.kind === 'us' ? 'US by jurisdiction' : 'A–Z'), text: (d) => d.kind, width: '160px' },
  { head: 'Currency', cell: (d) => d.currency, text: (d) => d.currency },
  { head: 'In force', cell: (d) => (d.active_version ? <State kind="good">version {d.active_version}</State> : <State kind="off">none</State>), text: (d) => String(d.active_version ?? ''), narrow: true },
  { head: 'Changed', cell: (d) => <When at={d.updated_at} />, text: (d) => d.updated_at, width: 'minmax(175px, 1fr)' },
];

export function Decks() {
  const may = useMay('decks:write');
  const navigate = useNavigate();
  const make = async (v: Record<string, unknown>) => {
    const { data } = await api.post('/api/v1/admin/rate-decks', v as never);
    await navigate({ to: `/decks/${(data as Deck).id}` } as never);
  };
  return (
    <Page title="Rate decks" actions={may && <FormButton primary label="New deck" title="New deck" submit={make} fields={[
      { name: 'name', label: 'Name', required: true }, { name: 'kind', label: 'Kind', kind: 'choice', choices: [{ value: 'us', label: 'US by jurisdiction' }, { value: 'az', label: 'A–Z' }], required: true }]} />}>
      <List path="/api/v1/admin/rate-decks" label="Rate decks" columns={columns} idOf={(d) => d.id} open={(d) => `/decks/${d.id}`} empty={<Text>No deck yet. Make one, then upload its prices.</Text>} />
    </Page>
  );
}

/** What a sheet changes. */
function ReportView({ of }: { of: Report }) {
  const sheet = of.recognised;
  return (
    <Stack gap="sm" data-report>
      <Text className="w-why">
        {of.rows} prices: {of.new} new, {of.dearer} dearer, {of.cheaper} cheaper, {of.same} the same, {of.ended} ended
        {of.blocked ? `, ${of.blocked} blocked` : ''}{of.begin_later ? `, ${of.begin_later} begin later` : ''}.
      </Text>
      {of.not_understood > 0 && <Text><State kind="bad">{of.not_understood} places were not understood{of.lines_not_understood ? `, on ${of.lines_not_understood} lines` : ''}.</State></Text>}
      {of.problems.length > 0 && <Plain label="Problems" head={['Line', 'Column', 'Problem']} rows={of.problems.slice(0, 50).map((p) => [p.line, p.column, p.message])} />}
      {sheet && (
        <Fields of={[
          ['Read as', `${sheet.format}, head in line ${sheet.header_line}, ${sheet.price_unit}, ${sheet.currency}, increments ${sheet.usual_increments}`],
          ['Columns', sheet.columns.map((c) => `${c.name} = ${words(c.read_as)}`).join(', ')], ['Notes', sheet.notes.join(' ')],
          ['Next change', of.next_change ? <When key="n" at={of.next_change} /> : undefined], ['Compared with', of.base ? `version ${of.base}` : 'nothing: the first one'],
        ]} />
      )}
      {of.largest.length > 0 && <Plain label="Largest moves" head={['Code', 'Old', 'New', 'Increments', 'Set-up fee', 'From']} rows={of.largest.slice(0, 50).map((m) => [<Code key="c">{m.code}</Code>, money(m.old), money(m.new), moved(m.old_increments, m.new_increments), moved(m.old_setup_fee && money(m.old_setup_fee), m.new_setup_fee && money(m.new_setup_fee)), m.from ? <When key="f" at={m.from} /> : 'at once'])} />}
    </Stack>
  );
}

/** What stands before and after a change; nothing where it stays. */
const moved = (old?: string | null, now?: string | null) => (old && now && old !== now ? `${old} → ${now}` : now ?? '');

const XLSX = 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet';
function Upload({ deck, done }: { deck: Deck; done: (version: number) => void }) {
  const [file, setFile] = useState<File | null>(null);
  const [mode, setMode] = useState('full');
  const [terms, setTerms] = useState('');
  const at = { params: { deck_id: deck.id } };
  const raw = () => ({ body: file!, type: file!.name.toLowerCase().endsWith('.xlsx') ? XLSX : 'text/csv' });
  const options = terms ? JSON.stringify({ terms }) : undefined;
  const check = useMutation({ mutationFn: () => api.post('/api/v1/admin/rate-decks/{deck_id}/check', undefined as never, { ...at, query: { mode, options }, raw: raw() }) });
  const store = useMutation({
    mutationFn: () => api.post('/api/v1/admin/rate-decks/{deck_id}/versions', undefined as never, { ...at, query: { mode, options, source_name: file!.name.slice(0, 100) }, raw: raw() }),
    onSuccess: ({ data }) => done((data as Version).number),
  });
  return (
    <Part title="Upload">
      <Stack>
        <Group align="flex-end">
          <FileInput label="Sheet" placeholder="CSV or XLSX" accept=".csv,.xlsx,text/csv" value={file} onChange={(f) => { setFile(f); check.reset(); store.reset(); }} w={260} />
          <Select label="It is" w={240} value={mode} onChange={(v) => setMode(v ?? 'full')} allowDeselect={false} data={[{ value: 'full', label: 'the whole list' }, { value: 'partial', label: 'changes to the list' }]} />
          <TextInput label="Increments, when the sheet has none" placeholder="60/6" value={terms} onChange={(e) => setTerms(e.currentTarget.value)} />
          <Button disabled={!file} loading={check.isPending} onClick={() => check.mutate()}>What would it change?</Button>
          <Button variant="default" disabled={!check.data} loading={store.isPending} onClick={() => store.mutate()}>Keep as a version</Button>
        </Group>
        {check.isError && <Failed why={check.error} />}
        {store.isError && <Failed why={store.error} />}
        {check.data && <ReportView of={check.data.data as Report} />}
      </Stack>
    </Part>
  );
}

export function DeckPage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const at = { params: { deck_id: id } };
  const may = useMay('decks:write');
  const queries = useQueryClient();
  const navigate = useNavigate();
  const deck = useQuery({ queryKey: ['deck', id], queryFn: () => api.get('/api/v1/admin/rate-decks/{deck_id}', at) });
  return (
    <Answered query={deck}>{({ data }) => {
      const d = data as Deck;
      const versionColumns: Column<Version>[] = [
        { head: 'Version', cell: (v) => `${v.number}`, text: (v) => String(v.number), narrow: true, width: '80px' },
        { head: 'State', cell: (v) => (v.number === d.active_version ? <State kind="good">in force</State> : v.activated_at ? <State kind="off">was in force</State> : <State kind="warn">waits</State>), text: (v) => (v.number === d.active_version ? 'in force' : ''), narrow: true },
        { head: 'Prices', cell: (v) => v.row_count, text: (v) => String(v.row_count), right: true },
        { head: 'From', cell: (v) => v.source_name || '–', text: (v) => v.source_name, width: 'minmax(140px, 2fr)' },
        { head: 'Stored', cell: (v) => <When at={v.created_at} />, text: (v) => v.created_at, width: 'minmax(175px, 1fr)' },
      ];
      return (
        <Page title={d.name} actions={<>
          {may && <Sure what="the deck" name={d.name} act={() => api.delete('/api/v1/admin/rate-decks/{deck_id}', at).then(() => navigate({ to: '/decks' } as never))} />}
          <AsCurl path="/api/v1/admin/rate-decks/{deck_id}" options={at} />
        </>}>
          <Part title="Deck">
            <Fields of={[['Kind', d.kind === 'us' ? 'US by jurisdiction' : 'A–Z'], ['Currency', d.currency], ['In force', d.active_version ? <Go key="v" to={`/decks/${id}/${d.active_version}`}>version {d.active_version}</Go> : 'none'], ['Id', <Code key="i">{d.id}</Code>]]} />
          </Part>
          {may && <Upload deck={d} done={(n) => { void queries.invalidateQueries({ queryKey: ['/api/v1/admin/rate-decks/{deck_id}/versions'] }); void navigate({ to: `/decks/${id}/${n}` } as never); }} />}
          <Part title="Versions">
            <List path="/api/v1/admin/rate-decks/{deck_id}/versions" params={at.params} label="Versions" columns={versionColumns} idOf={(v) => String(v.number)} open={(v) => `/decks/${id}/${v.number}`} empty={<Text>No version yet: upload a sheet.</Text>} />
          </Part>
        </Page>
      );
    }}</Answered>
  );
}

export function VersionPage() {
  const { id, version } = useParams({ strict: false }) as { id: string; version: string };
  const at = { params: { deck_id: id, number: version } };
  const may = useMay('decks:write');
  const queries = useQueryClient();
  const deck = useQuery({ queryKey: ['deck', id], queryFn: () => api.get('/api/v1/admin/rate-decks/{deck_id}', { params: { deck_id: id } }) });
  const found = useQuery({ queryKey: ['deck', id, version], queryFn: () => api.get('/api/v1/admin/rate-decks/{deck_id}/versions/{number}', at) });
  const activate = useMutation({
    mutationFn: () => api.post('/api/v1/admin/rate-decks/{deck_id}/versions/{number}/activate', undefined as never, at),
    onSuccess: () => queries.invalidateQueries(),
  });
  return (
    <Answered query={deck}>{({ data: d }) => (
      <Answered query={found}>{({ data }) => {
        const [of, v] = [d as Deck, data as Version];
        const isBack = of.active_version !== null && of.active_version !== undefined && v.number < of.active_version;
        return (
          <Page title={`${of.name}, version ${v.number}`} actions={may && v.number !== of.active_version && (
            <Button loading={activate.isPending} onClick={() => activate.mutate()}>{isBack ? `Go back to version ${v.number}` : 'Put into force'}</Button>
          )}>
            {activate.isError && <Failed why={activate.error} />}
            <Part title="Version">
              <Fields of={[['Deck', <Go key="d" to={`/decks/${id}`}>{of.name}</Go>], ['State', v.number === of.active_version ? <State key="s" kind="good">in force</State> : <State key="s" kind="off">not in force</State>],
                ['Prices', v.row_count], ['From', v.source_name || '–'], ['Stored', <When key="c" at={v.created_at} />], ['Put into force', <When key="a" at={v.activated_at} />], ['Made from', v.base_number ? `version ${v.base_number}` : 'nothing'],
                ['SHA-256', <Code key="h">{v.sha256}</Code>], ['Notes', v.notes.join(' ')]]} />
            </Part>
            <Part title="What it changed">{v.report ? <ReportView of={v.report} /> : <Text>There is no report.</Text>}</Part>
          </Page>
        );
      }}</Answered>
    )}</Answered>
  );
}
