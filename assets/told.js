/* The Play tab: what stands out in the run that is open. A click leads to where it is measured. */
/** @import { Mount } from "./open_run.js" */
/** @import { Run } from "./series.js" */

import { head } from "./dom.js";
import { FINDINGS_QUESTION, findingList } from "./findings.js";
import { lookInto } from "./inside.js";

/** @type {Mount} */
export function told(root) {
  const findings = findingList(lookInto);
  root.append(head("What stands out", FINDINGS_QUESTION), findings.element);
  /** @type {Run | null} */
  let current = null;
  return {
    update(run) {
      if (run !== current) findings.forget();
      current = run;
      if (run.status) findings.refresh(run);
    },
  };
}
