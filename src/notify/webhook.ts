import { expectSuccess, type HttpOptions, requestJson } from "./http.ts";
import type { Notice } from "./notice.ts";

/** Posts the drill record as JSON. */
export async function sendToWebhook(url: string, notice: Notice, options: HttpOptions): Promise<void> {
  const answer = await requestJson(
    { receiver: "The webhook", url, method: "POST", body: notice.payload },
    options,
  );
  expectSuccess("The webhook", answer, "it must take a JSON POST and answer with a status from 200 to 299");
}
