// Calls in the air: a look every two seconds, what each has cost so far, and hanging up. What only operators may know comes from them as
// columns: nothing of it stands here.
import { Button, Group, Modal, Stack, Text, TextInput } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState, type ReactNode } from 'react';
import { duration, money, number, type Money } from './format.ts';
import { Answered, Copied, Failed, Go, Plain, State, When } from './parts.tsx';
import { useMay } from './portal.tsx';

/** A call in the air as both portals have it. */
export interface LiveCallLike {
  id: string; caller: string; called: string; called_e164?: string | null; direction: string; state: string; emergency: boolean;
  setup_at: string; duration_ms: number; attempts: number; price?: Money | null;
}
export interface LiveLike<C> { at: string; found: number; complete: boolean; calls: C[]; nodes: { node: string; answered: boolean; calls: number }[] }

const KINDS: Record<string, 'good' | 'warn' | 'off'> = { answered: 'good', ringing: 'warn', setup: 'off' };

/** The list, and what is missing of it. */
export function LiveCalls<C extends LiveCallLike>({ look, hangUp, head = [], more }: {
  look: (number: string) => Promise<{ data: unknown }>; hangUp: (id: string, reason: string) => Promise<unknown>;
  head?: string[]; more?: (call: C) => ReactNode[];
}) {
  const [digits, setDigits] = useState('');
  // One dialog for the page, of a call that was chosen: the rows below it change every two seconds.
  const [chosen, setChosen] = useState<C | null>(null);
  const may = useMay('calls:hang_up');
  const queries = useQueryClient();
  const wanted = digits.replace(/\D/g, '').length >= 3 ? digits : '';
  const live = useQuery({ queryKey: ['live', wanted], queryFn: () => look(wanted), refetchInterval: 2_000, placeholderData: (old) => old });
  return (
    <>
      <TextInput label="Number" placeholder="Digits of the caller’s or the called number" value={digits} onChange={(e) => setDigits(e.currentTarget.value)} maw={360} />
      <Answered query={live}>{({ data }) => {
        const seen = data as LiveLike<C>;
        const silent = seen.nodes.filter((n) => !n.answered).map((n) => n.node);
        return (
          <>
            <Group gap="md">
              <Text data-found>{seen.found} {seen.found === 1 ? 'call' : 'calls'} in the air{seen.found > seen.calls.length ? `, the newest ${seen.calls.length} are shown` : ''}</Text>
              {!seen.complete && <State kind="bad">Calls are missing: {silent.length ? `${silent.join(', ')} did not answer` : 'not every node has answered'}.</State>}
            </Group>
            {seen.calls.length === 0 ? <Text>No call is in the air.</Text> : (
              <Plain label="Calls in the air" head={['Since', 'Caller', 'Called', 'State', 'So far', 'Price so far', ...head, 'Call', ...(may ? ['Do'] : [])]}
                rows={seen.calls.map((c) => [
                  <When key="w" at={c.setup_at} />, number(c.caller), number(c.called_e164 ?? c.called),
                  <State key="s" kind={KINDS[c.state] ?? 'off'}>{c.emergency ? `${c.state}, for help` : c.state}</State>,
                  c.state === 'answered' ? duration(c.duration_ms) : '–', money(c.price), ...(more?.(c) ?? []),
                  <Group key="i" gap="xs" wrap="nowrap"><Copied text={c.id} shown={`…${c.id.slice(-6)}`} /><Go to={`/live/${c.id}`}>Messages</Go></Group>,
                  ...(may ? [c.emergency ? '–' : <Button key="h" variant="default" onClick={() => setChosen(c)}>Hang up</Button>] : []),
                ])} />
            )}
          </>
        );
      }}</Answered>
      {chosen && <HangUp key={chosen.id} call={chosen} close={() => setChosen(null)}
        act={(reason) => hangUp(chosen.id, reason).then(() => queries.invalidateQueries({ queryKey: ['live'] }))} />}
    </>
  );
}

function HangUp({ call, close, act }: { call: LiveCallLike; close: () => void; act: (reason: string) => Promise<unknown> }) {
  const [reason, setReason] = useState('');
  const [why, setWhy] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const go = async () => {
    setBusy(true);
    setWhy(null);
    try {
      await act(reason);
      close();
    } catch (e) {
      setWhy(e);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Modal opened onClose={close} title="Hang up this call?">
      <form onSubmit={(e) => { e.preventDefault(); void go(); }}>
        <Stack>
          <Text>{number(call.caller)} → {number(call.called_e164 ?? call.called)}</Text>
          <TextInput label="Why" description="It stands in the audit log." required value={reason} onChange={(e) => setReason(e.currentTarget.value)} data-autofocus />
          {why !== null && <Failed why={why} />}
          <Group><Button type="submit" color="red" loading={busy} disabled={reason.trim() === ''}>Hang up</Button><Button variant="default" onClick={close}>Cancel</Button></Group>
        </Stack>
      </form>
    </Modal>
  );
}
